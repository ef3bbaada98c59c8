"""A clip in which it is known who should read whom: the map must light up that place, to within one cell.

A clip of noise-free black holds two spots: one that asks, and one that is looked for. Every block's projections are set
by hand so that the first looks for the second, then the whole chain runs: pixels, strides, the block with its pooling,
bins, groups or hops, and back to pixels.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS, AttentionBlock
from videonl.visualization import attention_maps
from videonl.visualization.grid import Position, pixels_of, spread

ASKING, SOUGHT = (1.0, 0.0, 1.0), (0.0, 1.0, 3.0)  # red and green tell them apart, blue is what they share
STRENGTH = 3000.0
QUERY, TARGET = (1, 11, 47), (4, 30, 13)

Prepare = Callable[[AttentionBlock], None]


class Strided(nn.Module):
    """Cells of 2 frames and 4 x 4 pixels, each the mean of its own pixels; for fusion a coarser stage above."""

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, clip: Tensor) -> Tensor:
        x = F.avg_pool3d(clip, (2, 4, 4))
        if not self.block.takes_low:
            return self.block(x)
        return self.block(F.avg_pool3d(x, (1, 2, 2)), x)


def clip_with_spots(size: Position, query: Position, target: Position) -> Tensor:
    clip = torch.zeros(1, 3, *size)
    for (t, y, x), color in ((query, ASKING), (target, SOUGHT)):
        clip[0, :, t, y, x] = STRENGTH * torch.tensor(color)
    return clip


def look_for_green(block: AttentionBlock) -> None:
    """Red asks and green answers, on one channel of theta and phi."""
    for name, module in block.named_modules():
        if isinstance(module, nn.Conv3d) and name.split(".")[-1] in ("theta", "phi", "mask"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
            module.weight.data[0, 0 if name.endswith("theta") else 1] = 1
    if hasattr(block, "concat"):
        block.concat.data.fill_(0)
        block.concat.data[[0, block.concat.numel() // 2]] = 1


def everyone_looks_for_green(block: AttentionBlock) -> None:
    """Hops pass through places that are neither spot; they too read green where a line of theirs meets it."""
    look_for_green(block)
    for name, module in block.named_modules():
        if name.endswith("theta"):
            nn.init.zeros_(module.weight)
            module.bias.data[0] = 1000


def look_for_any_spot(block: AttentionBlock) -> None:
    """One embedding serves queries and keys, so blue looks for blue; in a fusion red looks for green."""
    for name in ("theta", "phi"):
        if hasattr(block, name):
            conv = getattr(block, name)[0]
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
            conv.weight.data[0, {"theta": 0, "phi": 1}[name] if hasattr(block, "phi") else 2] = 1


def nothing(block: AttentionBlock) -> None:
    """The Gaussian form compares the features themselves."""


CASES: list[tuple[str, dict[str, Any], Prepare, int]] = [
    # block, options, its projections, pixels in height and width of what a weight covers
    ("nonlocal", {"subsample": False}, look_for_green, 4),
    ("nonlocal", {}, look_for_green, 8),
    ("nonlocal", {"pool_order": "pre"}, look_for_green, 8),
    ("nonlocal", {"pairwise": "gaussian"}, nothing, 8),
    ("nonlocal", {"pairwise": "dot_product"}, look_for_green, 8),
    ("nonlocal", {"pairwise": "concatenation"}, look_for_green, 8),
    ("criss_cross", {}, everyone_looks_for_green, 4),
    ("criss_cross", {"num_recurrences": 5}, everyone_looks_for_green, 4),
    ("axial", {}, everyone_looks_for_green, 4),
    ("asymmetric_pyramid", {"sizes": [(1, 1, 1), (3, 9, 13)]}, look_for_any_spot, 8),
    ("asymmetric_fusion", {"sizes": [(1, 1, 1), (3, 9, 13)]}, look_for_any_spot, 8),
    ("global_context", {}, look_for_green, 4),
    ("snl", {}, look_for_green, 4),
    ("gc", {}, look_for_green, 4),
]


def read_by_query(block: AttentionBlock, size: Position, query: Position, target: Position) -> Tensor:
    """What the query reads, by pixel of the clip."""
    clip = clip_with_spots(size, query, target)
    network = Strided(block.eval())
    ((attention,),) = attention_maps(network, {"block": block}, clip, [query]).values()
    return spread(attention.weights, attention.grid, size)


# 40 x 56 and 6 frames divide into cells; of 43 x 59 and 7 the last pixels belong to no cell, and the grid's sides are
# odd or even where the other's are not.
@pytest.mark.parametrize("size", [(6, 40, 56), (7, 43, 59), (7, 45, 61)], ids=str)
@pytest.mark.parametrize(("name", "options", "prepare", "cell_px"), CASES)
def test_the_sought_spot_lights_up(name, options, prepare, cell_px, size) -> None:
    block = BLOCKS[name](3, **options)
    prepare(block)
    pixels = read_by_query(block, size, QUERY, TARGET)
    if name == "asymmetric_pyramid":  # the asking spot is blue too
        pixels[near(QUERY, size, num_axes=3)] = 0
    if (
        name == "criss_cross"
    ):  # where no line leads to green, a hop is even, and more paths stay on the query's own lines
        pixels[near(QUERY, size, num_axes=2)] = 0
    brightest = (pixels > 0.99 * pixels.max()).nonzero()
    distance = (brightest - torch.tensor(TARGET)).abs().amax(dim=0)
    assert distance[0] <= 2
    assert distance[1] <= cell_px
    assert distance[2] <= cell_px
    if size == (6, 40, 56):  # cells are exact, so the spot itself is among the brightest
        assert pixels[TARGET] == pixels.max()
        assert all(spot <= cell for spot, cell in zip(extent(brightest), (2, cell_px, cell_px), strict=True))


def near(place: Position, size: Position, num_axes: int) -> Tensor:
    """The pixels that are less than 2 frames or 9 pixels away along so many axes at least."""
    close = [
        (torch.arange(pixels) - at).abs() < reach for at, pixels, reach in zip(place, size, (2, 9, 9), strict=True)
    ]
    t, y, x = (axis.int() for axis in close)
    return t[:, None, None] + y[:, None] + x >= num_axes


def extent(places: Tensor) -> list[int]:
    return (places.amax(dim=0) - places.amin(dim=0) + 1).tolist()


@pytest.mark.parametrize(
    ("options", "seen", "unseen"),
    [
        ({"reach": "groups", "group_frames": 2}, (2, 30, 13), (4, 30, 13)),
        ({"reach": "space"}, (1, 30, 13), (2, 30, 13)),
        ({"reach": "time"}, (4, 11, 47), (4, 11, 43)),
    ],
)
def test_only_spots_in_reach_light_up(options, seen, unseen) -> None:
    for target, is_seen in ((seen, True), (unseen, False)):
        block = BLOCKS["nonlocal"](3, **options)
        look_for_green(block)
        pixels = read_by_query(block, (8, 40, 56), QUERY, target)
        assert (pixels[target] == pixels.max()) == is_seen
        assert is_seen or pixels[target] == 0


@pytest.mark.parametrize("name", ["c2d_r50", "i3d_r50", "slow_r50"])
def test_cells_of_backbones_lie_where_the_network_looks(name) -> None:
    """The center of what a cell sees, by the gradient of averaging weights, is within its cell and one around it."""
    backbone = BACKBONES[name](2, width=4)
    network = backbone.network.eval()
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    size = (8, 96, 160)
    clip = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).add(1).requires_grad_()
    for stage, paths in backbone.stages.items():
        features = features_at(network, paths[-1], clip)
        grid = features.shape[2:]
        for cell in ([0, 0, 0], [size // 2 for size in grid], [size - 1 for size in grid]):
            (seen,) = torch.autograd.grad(features[(0, slice(None), *cell)].sum(), clip, retain_graph=True)
            for axis in range(3):
                along = seen.sum(dim=[dim for dim in range(5) if dim != axis + 2])
                center = float((along * torch.arange(size[axis])).sum() / along.sum())
                pixels = pixels_of(cell[axis], grid[axis], size[axis])
                cell_px = size[axis] / grid[axis]
                assert pixels.start - cell_px <= center <= pixels.stop - 1 + cell_px, (stage, cell, axis)


def features_at(network: nn.Module, path: str, clip: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = network.get_submodule(path).register_forward_hook(lambda module, args, output: found.append(output))
    network(clip)
    hook.remove()
    return found[0]
