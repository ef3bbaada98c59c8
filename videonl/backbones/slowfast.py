"""SlowFast: two pathways over one clip, of which the slow one sees every fourth frame and carries the blocks.

Built with pytorchvideo's ``create_slowfast``, so that ``state_dict`` keys are those of its hub checkpoints.
Source: Feichtenhofer et al. 2019, arXiv:1812.03982.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from videonl.backbones.contract import Backbone
from videonl.backbones.head import as_head, set_head
from videonl.backbones.quiet_import import quiet_import
from videonl.backbones.window_pool import WindowPool
from videonl.errors import UserError

ALPHA = 4  # frames of the fast pathway for one of the slow
BETA = 8  # channels of the slow pathway for one of the fast
POINT, TEMPORAL = (1, 1, 1), (3, 1, 1)
# Of the first convolution in the 23 residuals of res4, where the deep network of 16 frames sees time in the first six.
FIRST_SIX = (TEMPORAL,) * 6 + (POINT,) * 17


@dataclass(frozen=True)
class Variant:
    """One published network.

    Attributes:
        depth: Layers of either pathway.
        fusion_frames: Frames that the convolutions from the fast to the slow pathway span.
        slow_frames: Frames of the slow pathway.
        res4: Kernels of the first convolutions in res4.
    """

    depth: int
    fusion_frames: int
    slow_frames: int = 8
    res4: tuple[int, ...] | tuple[tuple[int, ...], ...] = TEMPORAL


VARIANTS = {
    "slowfast_r50": Variant(50, 7),
    "slowfast_r101": Variant(101, 5),
    "slowfast_16x8_r101_50_50": Variant(101, 5, slow_frames=16, res4=FIRST_SIX),
}


class TwoPathways(nn.Module):
    """A SlowFast network that takes one clip, and picks the frames of its slow pathway itself.

    Args:
        blocks: Stem, stages, pools and head of pytorchvideo's network, each of both pathways.
    """

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, clip: Tensor) -> Tensor:
        """Scores clips (B, 3, T, H, W): logits (B, num_classes)."""
        x: Tensor | list[Tensor] = [clip.index_select(2, slow_frames(clip.shape[2]).to(clip.device)), clip]
        for block in self.blocks:
            x = block(x)
        assert isinstance(x, Tensor)
        return x


def slow_frames(num_frames: int) -> Tensor:
    """The frames of the slow pathway: a fourth of them, the first and the last included, as its publishers pick them.

    >>> slow_frames(32).tolist(), slow_frames(5).tolist()
    ([0, 4, 8, 13, 17, 22, 26, 31], [0, 4])
    """
    # As many as the convolutions from the fast pathway leave, also where four does not divide the frames.
    return torch.linspace(0, num_frames - 1, -(-num_frames // ALPHA), device="cpu").long()


def slowfast(
    name: str,
    num_classes: int,
    *,
    width: int = 64,
    dropout: float = 0.5,
    head: str | Mapping[str, Any] = "mean",
) -> Backbone:
    """Builds a SlowFast network.

    Args:
        name: ``slowfast_r50``, ``slowfast_r101`` or ``slowfast_16x8_r101_50_50``, as pytorchvideo's hub names them.
        num_classes: Size of the head.
        width: Channels of the slow pathway's stem, 64 in the paper; every other width follows.
        dropout: Probability before the head.
        head: What the head does with clips larger than 224 pixels, as in :func:`videonl.backbones.resnet3d`.

    Returns:
        The backbone with stages res2 to res5, the residuals of its slow pathway. It takes one clip, as other backbones
        do: all frames go to the fast pathway, every fourth to the slow. Its head averages over positions, so it accepts
        clips of any size. Published at 32 frames, 8 for the slow pathway, or at 64.

    Raises:
        UserError: For a width of which there is no eighth, or a head that there is not.
    """
    if width < BETA or width % BETA:
        raise UserError(f"width of {name} must be a multiple of {BETA}, got {width}")
    with quiet_import():
        from pytorchvideo.models.slowfast import create_slowfast

    spec = VARIANTS[name]
    network = create_slowfast(
        model_depth=spec.depth,
        model_num_class=num_classes,
        dropout_rate=dropout,
        slowfast_channel_reduction_ratio=(BETA,),
        slowfast_fusion_conv_kernel_size=(spec.fusion_frames, 1, 1),
        stem_dim_outs=(width, width // BETA),
        stage_conv_a_kernel_sizes=((POINT, POINT, spec.res4, TEMPORAL), (TEMPORAL, TEMPORAL, spec.res4, TEMPORAL)),
        activation=partial(nn.ReLU, inplace=True),  # of norms, whose backward does not read what they return
    )
    wanted = as_head(head)
    # The pathways are pooled before they are joined, and the head after them has no pool of its own.
    pools = [WindowPool((None, wanted.window, wanted.window)) for _ in range(2)]
    network.blocks[-2].pool = nn.ModuleList(pools)
    set_head(network.blocks[-1], replace(wanted, window=None))
    return Backbone(TwoPathways(network.blocks), _stages(network), clip=(ALPHA * spec.slow_frames, 224, 224))


def _stages(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Residuals of the slow pathway, which is the first of the two in every stage."""
    paths = {f"res{level + 1}": f"blocks.{level}.multipathway_blocks.0.res_blocks" for level in range(1, 5)}
    return {
        stage: tuple(f"{path}.{index}" for index, _ in enumerate(network.get_submodule(path).children()))
        for stage, path in paths.items()
    }


SLOWFASTS: dict[str, Callable[..., Backbone]] = {name: partial(slowfast, name) for name in VARIANTS}
