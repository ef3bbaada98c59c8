"""A clip classifier: a backbone, its head, and the blocks inserted into it."""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from videonl.backbones import BACKBONES, build_backbone, input_channels
from videonl.backbones.batch_norm import BatchNormMode, set_batch_norm
from videonl.blocks import BLOCKS
from videonl.errors import UserError, require_within
from videonl.models.execution import Execution, set_execution
from videonl.models.placement import Insertion, insert

_MOST_CLASSES = 100_000


class ClipClassifier(nn.Module):
    """Classifies clips with a 3D CNN and attention blocks.

    Args:
        backbone: Name of the 3D CNN, for example ``i3d_r50``, or the dotted path of a callable that builds one, such as
            ``pytorchvideo.models.x3d.create_x3d``. ``videonl models`` lists the names.
        num_classes: Number of classes.
        blocks: Attention blocks to insert; none gives the plain backbone.
        width: Channels of the stem, for backbones that can be built at any width; all other widths scale with it. 64 is
            the published width of the ResNets. By default the backbone's own.
        dropout: Probability of dropout before the head; likewise.
        backbone_options: Further keyword arguments of the backbone, such as ``stride_profile: long``.
        stages: Module paths by stage name, for blocks to be placed after: the stages of a network by dotted path, and
            more of them for a named backbone.
        batch_norm: ``trained``, ``synchronized`` over all processes, ``frozen`` (the backbone's norms keep statistics,
            weight and bias as loaded; those of blocks train, or a new block would stay the identity), or ``affine``
            (all norms become a scale and a bias per channel, which train).
        execution: How the network runs, which only changes time and memory.

    Attributes:
        network: The backbone with its blocks; its ``state_dict`` keys are those of the public checkpoints.
        blocks: The inserted blocks by name, such as ``res4.3``.
        in_channels: Channels of the input clips.
        stages: Module paths of the backbone's units by stage.
        published_clip: The clip (T, H, W) of the backbone's published accuracy.
        settings: The arguments as plain data, from which :meth:`from_settings` builds the same network again.

    Raises:
        UserError: For an unknown backbone, option, block, stage or residual; the message lists what exists.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        blocks: list[Insertion] | None = None,
        width: int | None = None,
        dropout: float | None = None,
        backbone_options: dict[str, Any] | None = None,
        stages: dict[str, list[str]] | None = None,
        batch_norm: BatchNormMode = "trained",
        execution: Execution = Execution(),
    ) -> None:
        super().__init__()
        require_within(1, _MOST_CLASSES, num_classes=num_classes)
        insertions = blocks or []
        built = build_backbone(backbone, num_classes, _options(width, dropout, backbone_options), stages)
        if batch_norm == "frozen":
            set_batch_norm(built.network, batch_norm)
        # A plain dict, not a ModuleDict: the blocks live in the network, and must not be counted or saved twice.
        self.blocks = insert(built, insertions)
        self.network, self.stages, self.published_clip = built.network, built.stages, built.clip
        self.in_channels = input_channels(built.network)
        if batch_norm != "frozen":
            set_batch_norm(built.network, batch_norm)
        set_execution(built.network, built.stages, execution)
        self.settings: dict[str, Any] = {
            "backbone": BACKBONES.stored_name(backbone),
            "num_classes": num_classes,
            "blocks": [{**asdict(each), "block": BLOCKS.stored_name(each.block)} for each in insertions],
            "width": width,
            "dropout": dropout,
            "backbone_options": backbone_options,
            "stages": stages,
            "batch_norm": batch_norm,
            "execution": asdict(execution),
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "ClipClassifier":
        """Builds the network that :attr:`settings` describes, with fresh weights."""
        blocks = [Insertion(**insertion) for insertion in settings["blocks"] or []]
        # Networks of before there was a choice have no word on it.
        execution = Execution(**settings.get("execution", {}))
        # Version 0.1 spelled it so.
        renamed = {"batch_norm": "synchronized"} if settings.get("batch_norm") == "synchronised" else {}
        return cls(**{**settings, "blocks": blocks, "execution": execution, **renamed})

    def forward(self, clip: Tensor) -> Tensor:
        """Scores clips.

        Args:
            clip: Normalized clips, (B, 3, T, H, W).

        Returns:
            Logits, (B, num_classes).
        """
        logits: Tensor = self.network(clip)
        return logits


def _options(width: int | None, dropout: float | None, others: dict[str, Any] | None) -> dict[str, Any]:
    """The backbone's options, of which two have a name of their own."""
    options = dict(others or {})
    for name, value in (("width", width), ("dropout", dropout)):
        if value is None:
            continue
        if name in options:
            raise UserError(f"{name} is set twice: to {value}, and in backbone_options to {options[name]}")
        options[name] = value
    return options
