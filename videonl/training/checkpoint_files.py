"""How checkpoints are written to disk."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from videonl.errors import UserError
from videonl.files import whole_file
from videonl.pickles import refusal_of_code
from videonl.training.callbacks.best import adopt_best

RESUME = "The training resumes with --ckpt_path last"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints so that a kill, a power cut or a full disk leaves the one before.

    Lightning's own writes to the system's temporary folder and moves the file from there; between two file systems such
    a move is a copy over the older checkpoint, and a process killed meanwhile leaves half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: What ``torch.save`` takes.
            path: The file, on a local or mounted disk.
            storage_options: Not supported.

        Raises:
            UserError: It cannot be written; the file that was there before is unharmed.
        """
        assert storage_options is None
        # In memory first: where its file cannot grow, torch.save fails without saying why.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"folder {path.parent} could not be made ({error.strerror or error})") from error
        try:
            with whole_file(path) as file:
                file.write(content.getbuffer())
        except UserError as error:
            raise UserError(f"{error}. {RESUME}") from error

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Reads a checkpoint of tensors and plain data; whatever a configuration says, no code in it runs.

        Raises:
            UserError: The file is damaged, holds code, or is no checkpoint of a training.
        """
        options["weights_only"] = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what torch thinks of files that are no checkpoints
                checkpoint: dict[str, Any] = super().load_checkpoint(path, *arguments, **options)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            damaged = f"checkpoint {path} cannot be read and may be damaged ({type(error).__name__})"
            raise UserError(f"{refusal_of_code(Path(path)) or damaged}; choose another one with --ckpt_path") from error
        if not (isinstance(checkpoint, dict) and {"state_dict", "pytorch-lightning_version"} <= checkpoint.keys()):
            raise UserError(f"{path} is not a checkpoint of a training; use --model.weights for initial weights")
        adopt_best(checkpoint.get("callbacks", {}))
        return checkpoint
