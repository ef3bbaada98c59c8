"""What a frozen trunk computes, kept on disk for further runs."""

import hashlib
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from videonl.errors import UserError, require_within
from videonl.outputs import check_folder
from videonl.training.frozen_prefix import (
    Compute,
    Prefix,
    diverted,
    fingerprint,
    frozen_prefix,
    update_with_tensor,
)
from videonl.training.kept_tensors import KeptTensors
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class KeepFrozenFeatures(Callback):
    """Keeps what the frozen beginning of a network computes in a folder, and reads it where it is there already.

    Clips of a training are a function of the seed, the epoch and the video. So a second run with the same seed, data
    and frozen trunk, whatever else differs, does not compute the trunk again, and its results are the same to the last
    bit. Validations and tests take part, and there the seed does not matter.

    A file is named by a hash of all that it depends on: pixels, weights and settings of the trunk, precision, layout,
    device, threads and version of torch. So files cannot be mistaken, and may be deleted at any time.

    Args:
        folder: Of the files; several runs may share one, also at the same time.
        max_gb: Most gigabytes in the folder.
    """

    def __init__(self, folder: str | Path, max_gb: float = 50) -> None:
        require_within(0, max_gb=max_gb)
        self.folder = Path(folder)
        self.max_gb = max_gb
        self._diverted = ExitStack()
        self._start()

    def _start(self) -> None:
        self._kept = KeptTensors(self.folder, self.max_gb * 1e9)
        self._prefix: Prefix | None = None
        self._flags: list[bool] = []
        self._known: tuple[nn.Module, str] | None = None  # a network, and what its prefix computes
        self._num_read = self._num_batches = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks the folder and the network.

        Raises:
            UserError: The folder cannot be written to, or the network is compiled.
        """
        self._start()
        check_folder(self.folder)
        if any(getattr(part, "_compiled_call_impl", None) is not None for part in pl_module.modules()):
            raise UserError("KeepFrozenFeatures cannot skip parts of a compiled network; set execution.compile: false")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Has the prefix kept or read for one step."""
        assert isinstance(pl_module, ClipModule)
        flags = [weight.requires_grad for weight in pl_module.parameters()]
        flags += [part.training for part in pl_module.modules()]
        if flags != self._flags:  # the first step, or what is frozen has changed
            self._prefix, self._flags, self._known = None, flags, None
        self._begin(trainer, pl_module, pl_module.network)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Gives the network back, so that all else finds it as it was."""
        self._diverted.close()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Has the weights looked at again."""
        self._known = None
        self._kept.measure()

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Has the prefix of the network that scores kept or read."""
        assert isinstance(pl_module, ClipModule)
        if not trainer.sanity_checking:
            self._begin(trainer, pl_module, pl_module.scorer.network)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Gives the network back."""
        self._diverted.close()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the network that scored."""
        self._known = None

    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def on_exception(self, *_: Any) -> None:
        """Gives the network back."""
        self._diverted.close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the network back, and says how much was read."""
        self._diverted.close()
        if self._num_batches:
            counts = self._num_read, self._num_batches
            logger.info("frozen features of %d of %d batches were read from %s", *counts, self.folder)

    def _begin(self, trainer: Trainer, module: ClipModule, network: nn.Module) -> None:
        if self._prefix is not None:
            self._divert(network, self._prefix)
            return

        def find(running: nn.Module, inputs: tuple[Tensor]) -> None:
            first_call.remove()
            self._prefix = frozen_prefix(module.network, inputs[0])
            self._check(trainer, self._prefix)
            self._divert(network, self._prefix)

        first_call = network.register_forward_pre_hook(find)
        self._diverted.callback(first_call.remove)

    def _check(self, trainer: Trainer, prefix: Prefix) -> None:
        stopped = f"{prefix.next} {prefix.reason}"
        if prefix.reason.startswith("changes its buffers"):
            raise UserError(f"KeepFrozenFeatures: {stopped}; set model.network.init_args.batch_norm: frozen")
        if prefix.paths:
            logger.info("frozen features up to %s are kept in %s (%s)", prefix.paths[-1], self.folder, stopped)
        elif trainer.training and trainer.current_epoch == 0:
            raise UserError(
                f"KeepFrozenFeatures finds nothing frozen at the network's beginning: {stopped}; add FreezeBackbone "
                "to trainer.callbacks, with batch_norm: frozen, or remove KeepFrozenFeatures"
            )
        else:
            logger.info("no frozen features are kept from now on: %s", stopped)

    def _divert(self, network: nn.Module, prefix: Prefix) -> None:
        if not prefix.paths:
            return
        modules = [network.get_submodule(path) for path in prefix.paths]
        if self._known is None or self._known[0] is not network:
            self._known = network, fingerprint(modules)
        about = self._known[1]
        self._diverted.enter_context(diverted(modules, lambda x, compute: self._features(about, x, compute)))

    def _features(self, about: str, x: Tensor, compute: Compute) -> Tensor:
        name = _name(about, x)
        self._num_batches += 1
        features = self._kept.read_tensor(name, x.device)
        if features is None:
            features = compute(x)
            self._kept.write_tensor(name, features)
        else:
            self._num_read += 1
        return features


def _name(about: str, x: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=20)
    digest.update(repr((about, *_conditions(x.device))).encode())
    update_with_tensor(digest, x)
    return digest.hexdigest()


def _conditions(device: torch.device) -> tuple[object, ...]:
    """All else that the bits of a result depend on."""
    is_cuda = device.type == "cuda"
    kind = torch.cuda.get_device_name(device) if is_cuda else torch.backends.cpu.get_cpu_capability()
    autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    tf32 = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    exact = torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()
    return torch.__version__, device.type, kind, autocast, *tf32, *exact, torch.get_num_threads()
