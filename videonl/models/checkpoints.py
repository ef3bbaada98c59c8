"""Trained networks back from the checkpoints of ``videonl fit``."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videonl.errors import UserError
from videonl.models.classifier import ClipClassifier

NETWORK_PREFIX = "network."  # where the LightningModule of a training run keeps the network


@dataclass(frozen=True)
class Trained:
    """A trained network and what it needs to be used.

    Attributes:
        network: In eval mode, on the CPU.
        class_names: Names of the classes, in the order of the logits.
        clip: The clip format as plain data: frames, stride, sizes, mean and std.
    """

    network: ClipClassifier
    class_names: list[str]
    clip: dict[str, Any]


def load_trained(path: str | Path) -> Trained:
    """Rebuilds the network of a training run from its checkpoint alone.

    Args:
        path: A checkpoint that ``videonl fit`` wrote. It is read with ``weights_only=True``: no code in it runs.

    Returns:
        The trained network with its classes and clip format.

    Raises:
        UserError: When the file is missing, is no checkpoint, or was not written by ``videonl fit``.
    """
    checkpoint = _read(Path(path))
    try:
        about, weights = checkpoint["videonl"], checkpoint["state_dict"]
        if about["network"] is None:
            raise UserError(f"{path} holds a network that is not a videonl ClipClassifier; only those can be rebuilt")
        # How it ran in training says nothing about how it is to run now.
        network = ClipClassifier.from_settings({**about["network"], "execution": {}})
        trained = Trained(network.eval(), list(about["class_names"]), dict(about["clip"]))
        network.load_state_dict(
            {key.removeprefix(NETWORK_PREFIX): weights[key] for key in weights if key.startswith(NETWORK_PREFIX)}
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a checkpoint of videonl fit: it does not say which network it holds") from error
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit the network that it names: {_first_line(error)}") from error
    return trained


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; give the path of a .ckpt file that videonl fit wrote")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of files that are no checkpoints
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any bytes may break the unpickler in any way
        reason = _first_line(error)
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); was it copied completely?") from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint of videonl fit")
    return checkpoint


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
