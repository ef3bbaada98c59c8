"""Fine-tuning in two stages: first the new parts, then the whole network."""

import logging

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from videonl.errors import UserError
from videonl.training.layers import backbone_parameters
from videonl.training.module import ClipModule

logger = logging.getLogger(__name__)


class FreezeBackbone(Callback):
    """Trains only the head and the inserted blocks for some epochs, then the backbone too.

    While frozen, the backbone's weights and the statistics of its batch norms stay as loaded. The optimizer has all
    parameters from the start, so the backbone joins at the rate that the schedule has reached, and a training can
    resume at any step. Lightning's ``BackboneFinetuning`` adds them later, which a schedule by step does not allow.

    Args:
        num_epochs: Number of epochs with a frozen backbone.
    """

    def __init__(self, num_epochs: int) -> None:
        if num_epochs < 1:
            raise UserError(f"num_epochs of FreezeBackbone must be at least 1, got {num_epochs}; or remove it")
        self.num_epochs = num_epochs
        self._frozen: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freezes, unless a training is resumed after these epochs.

        Raises:
            UserError: When the processes expect gradients of all parameters in every step.
        """
        if isinstance(trainer.model, DistributedDataParallel) and not trainer.model.find_unused_parameters:
            raise UserError(
                "FreezeBackbone on several processes requires --trainer.strategy ddp_find_unused_parameters_true, "
                "because frozen weights have no gradient"
            )
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freezes or unfreezes."""
        assert isinstance(pl_module, ClipModule)
        if trainer.current_epoch >= self.num_epochs:
            self._let_go()
        elif not self._frozen:
            self._freeze(pl_module.network)

    def _freeze(self, network: nn.Module) -> None:
        self._frozen = [parameter for parameter in backbone_parameters(network) if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)
        self._norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and _is_frozen(part)]
        for norm in self._norms:
            norm.eval()
        num_training = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        epochs = "1 epoch" if self.num_epochs == 1 else f"{self.num_epochs} epochs"
        logger.info("for %s only %d parameters train, those of head and blocks", epochs, num_training)

    def _let_go(self) -> None:
        if self._frozen:
            logger.info("the backbone trains from now on")
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        for norm in self._norms:
            norm.train()
        self._frozen, self._norms = [], []


def _is_frozen(norm: nn.Module) -> bool:
    parameters = list(norm.parameters())
    return norm.training and len(parameters) > 0 and not any(parameter.requires_grad for parameter in parameters)
