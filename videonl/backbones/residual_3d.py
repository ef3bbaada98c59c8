"""3D and (2+1)D residual networks as kenshohara/3D-ResNets-PyTorch and mmaction2 have them, so that their weights fit.

Sources: Hara et al. 2018, arXiv:1711.09577 (3D); Tran et al. 2018, arXiv:1711.11248 ((2+1)D). ``state_dict`` keys are
Hara's for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones.contract import Backbone, Size
from videonl.errors import UserError

Shortcut = Literal["projection", "padding"]
Parts = list[tuple[str, nn.Conv3d]]
DEPTHS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
BOTTLENECKS = 50  # layers from which on residuals have three convolutions


@dataclass(frozen=True)
class Form:
    """What tells the networks of one project from those of another.

    Attributes:
        split: Whether convolutions over space and time are one over space and one over time.
        stem_frames: Frames that the stem's convolution spans.
        pool: Kernel of the max pool after it; Hara's strides in time too, mmaction2's in space alone.
        split_shortcut: Whether shortcuts are split as well, into two convolutions of one position.
        norm_epsilon: Of norms, except those within a split convolution, which add 1e-5.
    """

    split: bool
    stem_frames: int = 7
    pool: Size = (3, 3, 3)
    split_shortcut: bool = False
    norm_epsilon: float = 1e-5


FORMS = {
    "hara_r3d": Form(split=False),
    "hara_r2p1d": Form(split=True),
    "mmaction2_r2plus1d": Form(True, stem_frames=3, pool=(1, 3, 3), split_shortcut=True, norm_epsilon=1e-3),
}


def residual_3d(
    name: str,
    num_classes: int,
    *,
    depth: int = 34,
    width: int = 64,
    dropout: float = 0.0,
    shortcut: Shortcut = "projection",
) -> Backbone:
    """Builds a 3D or (2+1)D residual network.

    Args:
        name: ``hara_r3d``, ``hara_r2p1d`` or ``mmaction2_r2plus1d``.
        num_classes: Size of the head.
        depth: Layers: 10, 18, 34, 50, 101, 152 or 200.
        width: Channels of the stem, 64 as published; every other width follows.
        dropout: Probability before the head.
        shortcut: Where the shape changes: ``projection``, a convolution, or ``padding`` with zeros.

    Returns:
        The backbone with stages res2 to res5. It accepts clips of any size. Hara's were published at 16 frames of 112
        pixels, mmaction2's at 8 or 32 of 224.

    Raises:
        UserError: For a depth or a shortcut that there is not.
    """
    if depth not in DEPTHS:
        raise UserError(f"depth of {name} must be one of {', '.join(map(str, DEPTHS))}; got {depth}")
    if shortcut not in get_args(Shortcut):
        raise UserError(f"shortcut of {name} must be one of {', '.join(get_args(Shortcut))}; got {shortcut!r}")
    network = ResidualNetwork(FORMS[name], num_classes, depth, width, dropout, shortcut)
    counts = enumerate(DEPTHS[depth], start=1)
    stages = {f"res{level + 1}": tuple(f"layer{level}.{index}" for index in range(count)) for level, count in counts}
    return Backbone(network, stages, clip=(8, 224, 224) if name.startswith("mmaction2") else (16, 112, 112))


class ResidualNetwork(nn.Module):
    """The network; see :func:`residual_3d`."""

    def __init__(
        self, form: Form, num_classes: int, depth: int, width: int, dropout: float, shortcut: Shortcut
    ) -> None:
        super().__init__()
        stem = convolutions("1", 3, width, (form.stem_frames, 7, 7), (1, 2, 2), split=form.split)
        self.stem = _add(self, stem, form.norm_epsilon)
        self.relu = nn.ReLU(inplace=True)
        pool_strides = tuple(min(length, 2) for length in form.pool)
        self.maxpool = nn.MaxPool3d(form.pool, pool_strides, tuple(length // 2 for length in form.pool))
        channels = width
        for level, count in enumerate(DEPTHS[depth]):
            layer = []
            for index in range(count):
                stride = 2 if level > 0 and index == 0 else 1
                layer.append(Residual(form, channels, width * 2**level, stride, depth >= BOTTLENECKS, shortcut))
                channels = layer[-1].out_channels
            self.add_module(f"layer{level + 1}", nn.Sequential(*layer))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip: Tensor) -> Tensor:
        """Scores clips (B, 3, T, H, W): logits (B, num_classes)."""
        x = self.maxpool(self.relu(_run(self, self.stem, clip)))
        for level in range(1, 5):
            x = getattr(self, f"layer{level}")(x)
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3, 4))))
        return logits


class Residual(nn.Module):
    """A branch of two or three convolutions, and a shortcut beside it.

    Args:
        form: Of the network.
        channels: Of the input.
        planes: Channels within the branch.
        stride: In time, height and width.
        bottleneck: Whether convolutions of one position stand before and after that over space and time.
        shortcut: What stands beside the branch where the shape changes.
    """

    def __init__(
        self, form: Form, channels: int, planes: int, stride: int, bottleneck: bool, shortcut: Shortcut
    ) -> None:
        super().__init__()
        cube, strides = partial(convolutions, kernel=(3, 3, 3), split=form.split), (stride,) * 3
        point = partial(convolutions, kernel=(1, 1, 1), split=False)
        self.out_channels = 4 * planes if bottleneck else planes
        if bottleneck:
            parts = [*point("1", channels, planes), *cube("2", planes, planes, stride=strides)]
            parts += point("3", planes, self.out_channels)
        else:
            parts = [*cube("1", channels, planes, stride=strides), *cube("2", planes, planes)]
        self.branch = _add(self, parts, form.norm_epsilon)
        self.relu = nn.ReLU(inplace=True)
        self.stride, self.padded = stride, False
        if stride != 1 or channels != self.out_channels:
            self.padded = shortcut == "padding"
            if not self.padded:
                self.downsample = _projection(form, channels, self.out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, T, H, W) to (B, C', T / stride, H / stride, W / stride), rounded up."""
        y: Tensor = self.relu(_run(self, self.branch, x) + self._shortcut(x))
        return y

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.padded:
            s = self.stride
            return F.pad(x[:, :, ::s, ::s, ::s], (0, 0) * 3 + (0, self.out_channels - x.shape[1]))
        return self.downsample(x) if hasattr(self, "downsample") else x


def _projection(form: Form, channels: int, out_channels: int, stride: int) -> nn.Sequential:
    parts = convolutions("", channels, out_channels, (1, 1, 1), (stride,) * 3, split=form.split_shortcut)
    first, *later = (conv for _, conv in parts)
    norm = nn.BatchNorm3d(out_channels, form.norm_epsilon)
    if not later:
        return nn.Sequential(first, norm)
    return nn.Sequential(first, nn.BatchNorm3d(first.out_channels), nn.ReLU(inplace=True), *later, norm)


def convolutions(
    name: str, channels: int, out_channels: int, kernel: Size, stride: Size = (1, 1, 1), *, split: bool
) -> Parts:
    """One convolution over space and time; or one over space and one over time, with about as many weights."""
    (t, h, w), (stride_t, stride_h, stride_w) = kernel, stride
    if not split:
        padding = (t // 2, h // 2, w // 2)
        return [(name, nn.Conv3d(channels, out_channels, kernel, stride, padding, bias=False))]
    frames = max(t, 3)  # of the convolution that is counted, which for mmaction2's shortcuts is larger than their own
    between = frames * channels * out_channels * h * w // (channels * h * w + frames * out_channels)
    space = nn.Conv3d(channels, between, (1, h, w), (1, stride_h, stride_w), (0, h // 2, w // 2), bias=False)
    time = nn.Conv3d(between, out_channels, (t, 1, 1), (stride_t, 1, 1), (t // 2, 0, 0), bias=False)
    return [(f"{name}_s", space), (f"{name}_t", time)]


def _add(owner: nn.Module, parts: Parts, epsilon: float) -> list[str]:
    """Gives a module its convolutions and a norm after each, and returns their names."""
    for name, conv in parts:
        owner.add_module(f"conv{name}", conv)
        owner.add_module(f"bn{name}", nn.BatchNorm3d(conv.out_channels, 1e-5 if name.endswith("_s") else epsilon))
    return [name for name, _ in parts]


def _run(owner: nn.Module, names: list[str], x: Tensor) -> Tensor:
    """Convolutions and norms, with an activation after all but the last."""
    for name in names:
        # Not by get_submodule, which torch.export of torch 2.6 cannot follow.
        x = getattr(owner, f"bn{name}")(getattr(owner, f"conv{name}")(x))
        x = x if name == names[-1] else owner.relu(x)  # type: ignore[operator]  # a member of a module is no known type
    return x


RESIDUALS_3D: dict[str, Callable[..., Backbone]] = {name: partial(residual_3d, name) for name in FORMS}
