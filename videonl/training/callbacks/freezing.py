"""Fine-tuning of new parts with a frozen backbone, for some epochs or all."""

import logging
from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from videonl.errors import UserError
from videonl.training.layers import backbone_parameters, layers
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class FreezeBackbone(Callback):
    """Trains the head, the inserted blocks and named layers alone: for some epochs, or for the whole training.

    Frozen weights stay as loaded, and so do the statistics of their batch norms; frozen parts run in eval mode, without
    dropout. What comes before the first part that trains keeps nothing for backward.

    With ``num_epochs`` the optimizer has all parameters from the start, so the backbone joins at the rate that the
    schedule has reached, and a training can resume at any step. Lightning's ``BackboneFinetuning`` adds them later,
    which a schedule by step does not allow.

    Args:
        num_epochs: Number of epochs with a frozen backbone; None for all.
        trained: Layers of the backbone that train nevertheless, such as ``[res5]`` or ``[mixed_5]``.
    """

    def __init__(self, num_epochs: int | None = None, trained: Sequence[str] = ()) -> None:
        if num_epochs is not None and num_epochs < 1:
            raise UserError(f"num_epochs of FreezeBackbone must be at least 1, got {num_epochs}; or remove it")
        self.num_epochs = num_epochs
        self.trained = list(trained)
        self._frozen: list[nn.Parameter] = []
        self._still: list[nn.Module] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freezes for the whole training, before there are an optimizer and processes that wait for gradients.

        For a test too, which tells :class:`KeepFrozenFeatures` what was frozen.
        """
        if self.num_epochs is None:
            assert isinstance(pl_module, ClipModule)
            self._freeze(pl_module.network)
            if stage == "fit":
                self._report(pl_module.network)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freezes, unless a training is resumed after these epochs.

        Raises:
            UserError: When the processes expect gradients of all parameters in every step.
        """
        of_all = isinstance(trainer.model, DistributedDataParallel) and not trainer.model.find_unused_parameters
        if self.num_epochs is not None and of_all:
            raise UserError(
                "FreezeBackbone on several processes requires --trainer.strategy ddp_find_unused_parameters_true, "
                "because frozen weights have no gradient"
            )
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freezes or unfreezes."""
        assert isinstance(pl_module, ClipModule)
        if self.num_epochs is not None and trainer.current_epoch >= self.num_epochs:
            self._let_go()
        elif not self._frozen:
            self._freeze(pl_module.network)
            self._report(pl_module.network)

    def _freeze(self, network: nn.Module) -> None:
        kept = {id(parameter) for parameter in self._parameters_to_train(network)}
        wanted = [parameter for parameter in backbone_parameters(network) if id(parameter) not in kept]
        self._frozen = [parameter for parameter in wanted if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)
        self._still = [part for part in _frozen_parts(network) if part.training]
        for part in self._still:
            part.training = False

    def _report(self, network: nn.Module) -> None:
        num_training = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        times = {None: "", 1: "for 1 epoch "}.get(self.num_epochs, f"for {self.num_epochs} epochs ")
        what = ", ".join(["head", "blocks", *self.trained])
        logger.info("%sonly %d parameters train, those of %s", times, num_training, what)

    def _parameters_to_train(self, network: nn.Module) -> list[nn.Parameter]:
        by_layer = {layer.name: layer.parameters for layer in layers(network)}
        for name in self.trained:
            if name not in by_layer:
                raise UserError(f"FreezeBackbone: trained has {name!r}; the layers are {', '.join(by_layer)}")
        return [parameter for name in self.trained for parameter in by_layer[name]]

    def _let_go(self) -> None:
        if self._frozen:
            logger.info("the backbone trains from now on")
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        for part in self._still:
            part.training = True
        self._frozen, self._still = [], []


def _frozen_parts(network: nn.Module) -> list[nn.Module]:
    """Modules whose parameters are all frozen, with all that is in them, such as dropout.

    A module by module flag, because ``eval`` of a frozen module is not to reach a block inserted into it.
    """
    found: dict[int, nn.Module] = {}
    for part in network.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            found |= {id(member): member for member in part.modules()}
    return list(found.values())
