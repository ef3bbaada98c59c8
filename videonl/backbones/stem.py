"""Temporal strides of a ResNet's stem and pool, which its weights do not determine."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from torch import nn

from videonl.errors import UserError


@dataclass(frozen=True)
class Stem:
    """Strides and padding of the stem. The shapes of weights do not depend on them, but the outputs do.

    Attributes:
        temporal_stride: Of the stem's convolution; 2 in the I3D of 32 frames and more (arXiv:1711.07971).
        pool_temporal_stride: Of the max pool that follows it.
        pool_temporal_kernel: Frames that this pool spans.
        pool_padding_px: Its padding in height and width; video-nonlocal-net has none.
    """

    temporal_stride: int = 1
    pool_temporal_stride: int = 1
    pool_temporal_kernel: int = 1
    pool_padding_px: int = 1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == "pool_padding_px" else 1
            if value < least:
                raise UserError(f"stride_profile: {name} must be at least {least}, got {value}")
        if self.pool_padding_px > 1:
            raise UserError(f"stride_profile: pool_padding_px must be at most 1, got {self.pool_padding_px}")


STRIDE_PROFILES: dict[str, Stem] = {
    "short": Stem(),
    "long": Stem(temporal_stride=2, pool_temporal_stride=2, pool_temporal_kernel=2),
    "mmaction2": Stem(temporal_stride=2, pool_temporal_stride=2),
}
"""The authors' code has the long form for 32 and 128 frames; mmaction2's pool drops every other frame instead."""


def as_stem(profile: str | Mapping[str, int]) -> Stem:
    """The stem of a stride profile.

    Args:
        profile: A name of ``STRIDE_PROFILES``, or the fields of :class:`Stem`.

    Raises:
        UserError: For a name, field or value that there is not; the message lists those that there are.
    """
    if isinstance(profile, str):
        if profile not in STRIDE_PROFILES:
            raise UserError(f"stride_profile must be one of {', '.join(STRIDE_PROFILES)}; got {profile!r}")
        return STRIDE_PROFILES[profile]
    names = [each.name for each in fields(Stem)]
    for name in profile:
        if name not in names:
            raise UserError(f"stride_profile has no {name!r}; it has: {', '.join(names)}")
    return Stem(**profile)


def read_stem(network: nn.Module) -> Stem | None:
    """The stem of a ResNet as built; None for a network that is not one of :mod:`videonl.backbones.resnet3d`."""
    parts = _parts(network)
    if parts is None:
        return None
    conv, pool = parts
    kernel, stride, padding = (_triple(value) for value in (pool.kernel_size, pool.stride, pool.padding))
    return Stem(conv.stride[0], stride[0], kernel[0], padding[1])


def _parts(network: nn.Module) -> tuple[nn.Conv3d, nn.MaxPool3d] | None:
    blocks = getattr(network, "blocks", None)  # pytorchvideo's list of stem, stages and head
    stem = blocks[0] if isinstance(blocks, nn.ModuleList) else None
    conv, pool = getattr(stem, "conv", None), getattr(stem, "pool", None)
    return (conv, pool) if isinstance(conv, nn.Conv3d) and isinstance(pool, nn.MaxPool3d) else None


def _triple(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) * 3 if isinstance(value, int) else tuple(value)
