"""Facts about a checkpoint from its foreign layout, and those that a user has to state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from videonl.backbones import Head, Stem
from videonl.errors import MOST_FRAMES, UserError, require_within

Options = dict[str, Any]
Place = tuple[str, int]  # a stage and the residual that a block follows


@dataclass(frozen=True)
class Stated:
    """Facts about a checkpoint that its user states; None for those not stated.

    Attributes:
        backbone: Our name of the network.
        strides: Temporal strides of the stem's convolution and of the pool after it.
        pool_padding: Padding of that pool in height and width.
        pairwise: The non-local blocks' function, as :class:`videonl.blocks.NonLocal` names it.
        scale: Whether their logits are divided by sqrt(dim_inner).
        subsample: Whether their keys and values are pooled.
        num_frames: Frames of a clip in training.
        stride_frames: Distance between them.
    """

    backbone: str | None = None
    strides: tuple[int, int] | None = None
    pool_padding: int | None = None
    pairwise: str | None = None
    scale: bool | None = None
    subsample: bool | None = None
    num_frames: int | None = None
    stride_frames: int | None = None

    def __post_init__(self) -> None:
        for stride in self.strides or ():
            require_within(1, MOST_FRAMES, strides=stride)
        require_within(0, 1, pool_padding=self.pool_padding)
        require_within(1, MOST_FRAMES, num_frames=self.num_frames, stride_frames=self.stride_frames)

    def require(self, hints: Mapping[str, str]) -> None:
        """Raises an error if one of the named facts is unknown.

        Args:
            hints: For each fact, by attribute, where its value can be looked up.

        Raises:
            UserError: The message names every fact that is missing, with its flag.
        """
        missing = [f"--{name} ({hint})" for name, hint in hints.items() if getattr(self, name) is None]
        if missing:
            raise UserError(
                "the weights alone do not determine how the network computes, and a guess could give other "
                f"outputs; state {', '.join(missing)}"
            )


@dataclass(frozen=True)
class Foreign:
    """A checkpoint in names that the engine knows, and what is known about it.

    Attributes:
        weights: By key. For a ResNet these say places: ``stem.conv.weight``, ``res3.1.branch2.conv_a.weight``,
            ``res3.1.block.theta.weight``, ``head.proj.bias``; other networks have keys of their own.
        left_over: Keys of the file that the layout does not know.
        backbone: Our name of the network.
        placed: Whether the keys of ``weights`` are places.
        blocks: Options of the non-local block after each residual that has one.
        options: Further options of the backbone, ``width`` among them where keys are no places.
        stem: The stem's strides; None for networks that are no ResNets.
        head: How the network's head averages in the project's tests; None where it averages all positions.
        clip: The clips it was trained on, by the names of :class:`videonl.data.transforms.ClipFormat`: as stated, as
            the file says, or as published for the network. Empty where none of them says it.
        norm_epsilon: What the file's batch norms add to variances; None where our network has the project's own.
        reads: What the network reads where that is not RGB frames.
        license: Restrictions on the use of the weights, where there are any.
        inflated: Whether these are weights of a 2D network, to be repeated along time.
        published_classes: The list of the classes that the published files of this layout have, where all those with as
            many classes have these.
    """

    weights: Mapping[str, Tensor]
    left_over: Sequence[str]
    backbone: str
    placed: bool = True
    blocks: Mapping[Place, Options] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    stem: Stem | None = None
    head: Head | None = None
    clip: Mapping[str, Any] = field(default_factory=dict)
    norm_epsilon: float | None = 1e-5
    reads: str | None = None
    license: str | None = None
    inflated: bool = False
    published_classes: str | None = None


AT_224 = {"short_side_px": 256, "crop_px": 224}
AT_112 = {"short_side_px": 128, "crop_px": 112}


def sampling(stated: Stated, published: tuple[int, int] | None = None) -> dict[str, Any]:
    """The clip's frames and stride: what was stated, or else what was published for the network, if anything was."""
    num_frames, stride_frames = published or (None, None)
    known = {"num_frames": stated.num_frames or num_frames, "stride_frames": stated.stride_frames or stride_frames}
    return {name: value for name, value in known.items() if value is not None}
