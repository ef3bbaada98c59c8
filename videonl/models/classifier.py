"""A clip classifier: a backbone, its head, and the blocks inserted into it."""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from videonl.backbones import BACKBONES
from videonl.backbones.batch_norm import BatchNormMode, set_batch_norm
from videonl.errors import UserError
from videonl.models.execution import Execution, set_execution
from videonl.models.placement import Insertion, insert


class ClipClassifier(nn.Module):
    """Classifies clips with a 3D CNN and attention blocks.

    Args:
        backbone: Name of the 3D CNN, for example ``i3d_r50``.
        num_classes: Number of classes.
        blocks: Attention blocks to insert; none gives the plain backbone.
        width: Channels of the stem; 64 is the published width, and all others follow it.
        dropout: Probability of dropout before the head.
        batch_norm: ``trained``, ``synchronised`` over all processes, ``frozen`` (the backbone's norms keep statistics,
            weight and bias as loaded; those of blocks train, or a fresh block would stay the identity), or ``affine``
            (all norms become a scale and a bias per channel, which train).
        execution: How the network runs, which changes time and memory alone.

    Attributes:
        network: The backbone with its blocks; its ``state_dict`` keys are those of the public checkpoints.
        blocks: The inserted blocks by name, such as ``res4.3``.
        settings: The arguments as plain data, from which :meth:`from_settings` builds the same network again.

    Raises:
        UserError: For an unknown backbone, block, stage or residual; the message lists what exists.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        blocks: list[Insertion] | None = None,
        width: int = 64,
        dropout: float = 0.5,
        batch_norm: BatchNormMode = "trained",
        execution: Execution = Execution(),
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise UserError(f"unknown backbone {backbone!r}; the backbones are: {', '.join(sorted(BACKBONES))}")
        insertions = blocks or []
        built = BACKBONES[backbone](num_classes, width=width, dropout=dropout)
        if batch_norm == "frozen":
            set_batch_norm(built.network, batch_norm)
        # A plain dict, not a ModuleDict: the blocks live in the network, and must not be counted or saved twice.
        self.blocks = insert(built, insertions)
        self.network = built.network
        if batch_norm != "frozen":
            set_batch_norm(built.network, batch_norm)
        set_execution(built.network, built.stages, execution)
        self.settings: dict[str, Any] = {
            "backbone": backbone,
            "num_classes": num_classes,
            "blocks": [asdict(insertion) for insertion in insertions],
            "width": width,
            "dropout": dropout,
            "batch_norm": batch_norm,
            "execution": asdict(execution),
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "ClipClassifier":
        """Builds the network that :attr:`settings` describes, with fresh weights."""
        blocks = [Insertion(**insertion) for insertion in settings["blocks"]]
        # Networks of before there was a choice have no word on it.
        execution = Execution(**settings.get("execution", {}))
        return cls(**{**settings, "blocks": blocks, "execution": execution})

    def forward(self, clip: Tensor) -> Tensor:
        """Scores clips.

        Args:
            clip: Normalised clips, (B, 3, T, H, W).

        Returns:
            Logits, (B, num_classes).
        """
        logits: Tensor = self.network(clip)
        return logits
