"""Saturated softmaxes are named, others are not."""

import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import BLOCKS, AttentionBlock, NonLocal
from videonl.diagnostics.saturation import largest_affinity, measure_softmax, saturation

GRID = (3, 5, 7)


class Network(nn.Module):
    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, clip: Tensor) -> Tensor:
        return self.block(clip).mean(dim=(2, 3, 4))


def scaled(block: AttentionBlock, factor: float) -> AttentionBlock:
    generator = torch.Generator().manual_seed(3)
    for parameter in block.parameters():
        parameter.data = factor * torch.randn(parameter.shape, generator=generator)
    return block.eval()


def told(block: AttentionBlock, grid: tuple[int, ...] = GRID) -> str | None:
    clips = torch.randn(2, 11, *grid, generator=torch.Generator().manual_seed(2))
    found = measure_softmax(Network(block), {"res3.1": block}, clips)
    return saturation(found["res3.1"].num_read, found["res3.1"].affinity) if found else None


@torch.no_grad()
@pytest.mark.parametrize("reach", ["spacetime", "space", "time"])
def test_the_largest_affinity_is_that_of_the_keys_in_reach(reach: str) -> None:
    block = scaled(NonLocal(11, reach=reach, subsample=False), 1.0)  # type: ignore[arg-type]  # a parameter's text
    x = torch.randn(1, 11, *GRID, generator=torch.Generator().manual_seed(2))
    theta, phi = (part(x)[0].flatten(1).double() for part in (block.theta, block.phi))  # type: ignore[operator]  # a module, which mypy takes for a tensor
    cells = torch.stack(torch.unravel_index(torch.arange(105), GRID))
    same_frame = cells[0][:, None] == cells[0]
    same_place = (cells[1:, :, None] == cells[1:, None]).all(dim=0)
    reachable = {"spacetime": torch.ones(105, 105) > 0, "space": same_frame, "time": same_place}[reach]
    queries = torch.tensor([0, 17, 104])
    expected = (theta.T @ phi)[queries][reachable[queries]].abs().max()
    assert largest_affinity(block, (x,), queries) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", ["nonlocal", "criss_cross", "axial", "snl", "gc"])
def test_large_weights_saturate_every_softmax_and_small_ones_none(name: str) -> None:
    assert told(scaled(BLOCKS[name](11), 0.01)) is None
    text = told(scaled(BLOCKS[name](11), 100.0))
    assert text is not None and "has a saturated softmax" in text and "affinity_factor: 0.1" in text
    assert ("affinities reach" in text) == (name == "nonlocal")


def test_what_has_no_choice_or_no_softmax_is_not_saturated() -> None:
    assert told(scaled(NonLocal(11, pairwise="dot_product"), 100.0)) is None
    assert told(scaled(NonLocal(11, scale=True), 0.1), (1, 1, 1)) is None
    assert told(scaled(NonLocal(11, reach="time"), 0.1), (1, 5, 7)) is None


def test_either_sign_is_enough_from_its_threshold_on() -> None:
    assert saturation(1.11, 99.0) is None and saturation(1.11, None) is None
    few, large = saturation(1.1, 3.0), saturation(50.0, 100.0)
    assert few is not None and "1.10 keys" in few and "affinities reach" not in few
    assert large is not None and "affinities reach 100" in large and "keys" not in large
