"""kenshohara/3D-ResNets-PyTorch: its ResNets of 3D convolutions (r3d) and of split ones (r2p1d)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videonl.backbones.residual_3d import BOTTLENECKS, DEPTHS
from videonl.errors import UserError
from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import Foreign, Stated, sampling

# Of Kinetics, which it takes whatever it trains on.
MEAN, STD = (0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737)
PUBLISHED = (16, 1)  # frames and stride


def kenshohara(content: Any, stated: Stated) -> Foreign:
    """A checkpoint of its training or model zoo, whose stem has the strides and the pool that are its defaults."""
    weights = tensors(content, ("state_dict",), "kenshohara/3D-ResNets-PyTorch")
    split = "conv1_s.weight" in weights
    stem = weights.get("conv1_t.weight" if split else "conv1.weight")
    if (
        stem is None
        or stem.ndim != 5
        or ("layer4.0.bn1.weight" not in weights and "layer4.0.bn1_s.weight" not in weights)
    ):
        raise UserError(
            "the file holds no network of kenshohara/3D-ResNets-PyTorch that videonl reads: its resnet (r3d) and "
            "resnet2p1d (r2p1d) of any depth"
        )
    name = "hara_r2p1d" if split else "hara_r3d"
    if stated.backbone not in (None, name):
        raise UserError(f"--backbone {stated.backbone}: the file holds {name}")
    shortcut = "projection" if "layer2.0.downsample.0.weight" in weights else "padding"
    return Foreign(
        weights=weights,
        left_over=[],
        backbone=name,
        placed=False,
        options={"depth": depth_of(weights), "width": stem.shape[0], "shortcut": shortcut},
        clip={"mean": MEAN, "std": STD, "short_side_px": 112, "crop_px": 112, **sampling(stated, PUBLISHED)},
    )


def depth_of(weights: Mapping[str, Tensor]) -> int:
    """Layers of a network under Hara's keys.

    Raises:
        UserError: When it has another number of residuals than any that there is.
    """
    residuals = {tuple(key.split(".")[:2]) for key in weights if key.startswith("layer")}
    counts = tuple(sum(layer == f"layer{number}" for layer, _ in residuals) for number in range(1, 5))
    bottlenecks = "layer1.0.conv3.weight" in weights
    for depth, known in DEPTHS.items():
        if counts == known and bottlenecks == (depth >= BOTTLENECKS):
            return depth
    raise UserError(
        f"the file has {counts} residuals in its four layers, which fits none of the known depths: "
        f"{', '.join(map(str, DEPTHS))} layers"
    )
