"""mmaction2's R(2+1)D (``ResNet2Plus1d``), whose convolutions are each a module of two."""

import re
from collections.abc import Mapping

from torch import Tensor

from videonl.errors import UserError
from videonl.models.conversion.foreign import Foreign
from videonl.models.conversion.kenshohara import depth_of

STEM = "backbone.conv1.conv.conv_s.weight"
# Of its convolutions, then of its shortcuts, which are sequences in our network.
NAMES = (
    (r"backbone\.((?:layer\d\.\d+\.)?)conv(\d)\.conv\.(conv|bn)_([st])\.(.+)", r"\1\3\2_\4.\5"),
    (r"backbone\.((?:layer\d\.\d+\.)?)conv(\d)\.bn\.(.+)", r"\1bn\2_t.\3"),
    (r"backbone\.(layer\d\.\d+\.)downsample\.conv\.conv_s\.(.+)", r"\1downsample.0.\2"),
    (r"backbone\.(layer\d\.\d+\.)downsample\.conv\.bn_s\.(.+)", r"\1downsample.1.\2"),
    (r"backbone\.(layer\d\.\d+\.)downsample\.conv\.conv_t\.(.+)", r"\1downsample.3.\2"),
    (r"backbone\.(layer\d\.\d+\.)downsample\.bn\.(.+)", r"\1downsample.4.\2"),
    (r"cls_head\.fc_cls\.(.+)", r"fc.\1"),
)
PUBLISHED = (8, 8)  # frames and stride; its network of 32x2 has a name that says so


def r2plus1d(weights: Mapping[str, Tensor], backbone: str | None) -> Foreign:
    """The network that its configurations build: two convolutions a residual, norms that add 1e-3.

    Raises:
        UserError: When it is one of bottlenecks.
    """
    if backbone not in (None, "mmaction2_r2plus1d"):
        raise UserError(f"--backbone {backbone}: the file holds mmaction2_r2plus1d")
    if any(".conv3." in key for key in weights):
        raise UserError("the file holds an R(2+1)D of depth 50 or more; videonl reads those of depth 18 and 34")
    renamed = {ours: weight for key, weight in weights.items() if (ours := _renamed(key)) is not None}
    return Foreign(
        weights=renamed,
        left_over=[key for key in weights if _renamed(key) is None],
        backbone="mmaction2_r2plus1d",
        placed=False,
        options={"depth": depth_of(renamed), "width": renamed["conv1_t.weight"].shape[0]},
        norm_epsilon=None,
    )


def _renamed(key: str) -> str | None:
    return next((re.sub(theirs, ours, key) for theirs, ours in NAMES if re.fullmatch(theirs, key)), None)
