"""A clip classifier: a backbone, its head, and the blocks inserted into it."""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from videonl.backbones import BACKBONES, Stem, set_stem
from videonl.errors import UserError
from videonl.models.placement import Insertion, insert


class ClipClassifier(nn.Module):
    """Classifies clips with a 3D CNN and attention blocks.

    Args:
        backbone: Name of the 3D CNN, for example ``i3d_r50``.
        num_classes: Number of classes.
        blocks: Attention blocks to insert; none gives the plain backbone.
        width: Channels of the stem; 64 is the published width, and all others follow it.
        dropout: Probability of dropout before the head.
        stem: Strides of a ResNet's stem where they are not the usual ones, which keep all frames.

    Attributes:
        network: The backbone with its blocks; its ``state_dict`` keys are those of the public checkpoints.
        blocks: The inserted blocks by name, such as ``res4.3``.
        stages: For each stage the module paths of its residuals within ``network``.
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
        stem: Stem | None = None,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise UserError(f"unknown backbone {backbone!r}; the backbones are: {', '.join(sorted(BACKBONES))}")
        insertions = blocks or []
        built = BACKBONES[backbone](num_classes, width=width, dropout=dropout)
        if stem is not None:
            set_stem(built.network, stem)
        # A plain dict, not a ModuleDict: the blocks live in the network, and must not be counted or saved twice.
        self.blocks = insert(built, insertions)
        self.network = built.network
        self.stages = built.stages
        self.settings: dict[str, Any] = {
            "backbone": backbone,
            "num_classes": num_classes,
            "blocks": [asdict(insertion) for insertion in insertions],
            "width": width,
            "dropout": dropout,
            "stem": None if stem is None else asdict(stem),
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "ClipClassifier":
        """Builds the network that :attr:`settings` describes, with fresh weights."""
        stem = settings.get("stem")
        parts = {
            "blocks": [Insertion(**insertion) for insertion in settings["blocks"]],
            "stem": None if stem is None else Stem(**stem),
        }
        return cls(**{**settings, **parts})

    def forward(self, clip: Tensor) -> Tensor:
        """Scores clips.

        Args:
            clip: Normalised clips, (B, 3, T, H, W).

        Returns:
            Logits, (B, num_classes).
        """
        logits: Tensor = self.network(clip)
        return logits
