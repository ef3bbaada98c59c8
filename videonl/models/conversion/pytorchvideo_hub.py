"""Networks of pytorchvideo's hub that are no plain ResNets: SlowFast, X3D, CSN and R(2+1)D, under their own keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from videonl.backbones import Head
from videonl.backbones.head import HEADS
from videonl.errors import UserError
from videonl.models.conversion.foreign import Foreign, Stated, sampling


@dataclass(frozen=True)
class Hub:
    """What the hub says of a network, and its weights do not.

    Attributes:
        sampling: Frames and stride of its clips; for SlowFast those of the fast pathway, which gets all frames.
        sizes_px: Short side in tests, and side of the crops in training.
        head: What its head averages on larger clips.
    """

    sampling: tuple[int, int]
    sizes_px: tuple[int, int] = (256, 224)
    head: Head = HEADS["windows"]


HUB = {
    "slowfast_r50": Hub((32, 2)),
    "slowfast_r101": Hub((32, 2)),
    "slowfast_16x8_r101_50_50": Hub((64, 2)),
    "x3d_xs": Hub((4, 12), (182, 160), Head(window=5, averaged="probabilities")),
    "x3d_s": Hub((13, 6), (182, 160), Head(window=5, averaged="probabilities")),
    "x3d_m": Hub((16, 5), (256, 224), HEADS["windows_softmax"]),
    "x3d_l": Hub((16, 5), (356, 312), Head(window=10, averaged="probabilities")),
    "csn_r101": Hub((32, 2)),
    "r2plus1d_r50": Hub((16, 4), head=HEADS["windows_softmax"]),
}
SLOW = "multipathway_blocks.0."
STEMS = {"slowfast": f"blocks.0.{SLOW}conv.weight", "csn": "blocks.0.conv.weight", "r2plus1d": "blocks.0.conv.weight"}
SMALL_X3D = ("x3d_xs", "x3d_s", "x3d_m")
KINDS = {
    "slowfast": "a SlowFast network",
    "x3d": "an X3D",
    "r2plus1d": "an R(2+1)D",
    "csn": "a channel-separated network (CSN)",
}


def hub_network(weights: Mapping[str, Tensor], stated: Stated) -> Foreign | None:
    """The network that weights of pytorchvideo's names are of; None where it is a plain ResNet, or none of the hub's.

    Raises:
        UserError: When it is of a kind that the hub has, and none that it has.
    """
    name = _name(weights, stated)
    if name is None:
        return None
    hub = HUB[name]
    short_side_px, crop_px = hub.sizes_px
    stem = STEMS.get(name.partition("_")[0])
    return Foreign(
        weights=weights,
        left_over=[],
        backbone=name,
        placed=False,
        options={} if stem is None else {"width": weights[stem].shape[0]},
        head=hub.head,
        clip={
            "mean": (0.45,) * 3,
            "std": (0.225,) * 3,
            "short_side_px": short_side_px,
            "crop_px": crop_px,
            **sampling(stated, hub.sampling),
        },
        published_classes="kinetics400",
    )


def _name(weights: Mapping[str, Tensor], stated: Stated) -> str | None:
    found = _candidates(weights)
    if found is None:
        return None
    kind, names = found
    of_kind = ", ".join(name for name in HUB if name.startswith(kind))
    if not names:
        raise UserError(f"the file holds {KINDS[kind]} of a depth that videonl does not have; it has: {of_kind}")
    if stated.backbone is not None and stated.backbone not in names:
        raise UserError(f"--backbone {stated.backbone}: the file holds {KINDS[kind]}, {' or '.join(names)}")
    if len(names) > 1:
        stated.require({"backbone": f"{' or '.join(names)}, whose weights have the same shapes"})
    return stated.backbone or names[0]


def _candidates(weights: Mapping[str, Tensor]) -> tuple[str, tuple[str, ...]] | None:
    """The kind of network, and those of the hub with as many residuals in res4."""
    last = "blocks.3.{}res_blocks.{}.branch2.conv_{}"
    if STEMS["slowfast"] in weights:
        depth = _residuals(weights, SLOW)
        late = weights.get(last.format(SLOW, 22, "a") + ".weight")
        deep = "slowfast_r101" if late is None or late.shape[2:3] == (3,) else "slowfast_16x8_r101_50_50"
        return "slowfast", {6: ("slowfast_r50",), 23: (deep,)}.get(depth, ())
    depth = _residuals(weights)
    if "blocks.0.conv.conv_xy.weight" in weights:
        return "x3d", {11: SMALL_X3D, 25: ("x3d_l",)}.get(depth, ())
    if last.format("", 0, "b") + ".conv_t.weight" in weights:
        return "r2plus1d", ("r2plus1d_r50",) if depth == 6 else ()
    conv_b = weights.get(last.format("", 0, "b") + ".weight")
    if conv_b is not None and conv_b.shape[1:2] == (1,) and conv_b.shape[0] > 1:
        return "csn", ("csn_r101",) if depth == 23 else ()
    return None


def _residuals(weights: Mapping[str, Tensor], pathway: str = "") -> int:
    found = (re.match(rf"blocks\.3\.{re.escape(pathway)}res_blocks\.(\d+)\.", key) for key in weights)
    return len({match[1] for match in found if match})
