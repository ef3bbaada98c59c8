"""What a block gets that states nothing but its forward, and one that states its factors too."""

import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import BLOCKS, AttentionBlock, Factors, Gain, NonLocal, ProductWeights


class Shift(AttentionBlock):
    """A block without attention, scale or name."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, dims=2)


class Linear(AttentionBlock):
    """A block that says by factors alone how it weighs positions."""

    weights_sum_to_one = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.tensor([3.0, 4.0]))
        self.out = nn.Conv3d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def factors(self, x: Tensor) -> Factors:
        rows = x[0].flatten(1).mT
        return ProductWeights(rows, rows.mT, x.shape[2:], x.shape[2:])


QUERIES = torch.tensor([0, 29, 7])


def test_a_block_without_weights_reads_all_positions_alike() -> None:
    block, x = Shift(), torch.randn(2, 7, 2, 3, 5)
    assert not block.weighs_positions
    assert (block.kind, block.gain(), block.factors(x)) == ("Shift", None, None)
    torch.testing.assert_close(block.attention(x, QUERIES), torch.full((2, 3, 2, 3, 5), 1 / 30))


def test_attention_follows_from_the_factors_of_each_clip() -> None:
    block, x = Linear(7), torch.randn(2, 7, 2, 3, 5, dtype=torch.float64)
    assert block.weighs_positions
    naive = torch.einsum("bcn,bcm->bnm", x.flatten(2), x.flatten(2))[:, QUERIES].reshape(2, 3, 2, 3, 5)
    torch.testing.assert_close(block.attention(x, QUERIES), naive, rtol=0, atol=1e-12)
    even = block.uniform_attention((x,), QUERIES, torch.Size((2, 3, 5)))
    torch.testing.assert_close(even, torch.full_like(even, 1 / 30))


def test_the_gain_is_that_of_gamma_then_norm_then_out() -> None:
    block = Linear(7)
    assert block.gain() == Gain(pytest.approx(12.5**0.5), "gamma")
    del block.gamma
    gain = block.gain()
    assert gain is not None and gain.of == "W"


def test_kinds_are_the_names_of_configurations() -> None:
    assert NonLocal(2, pairwise="dot_product").kind == "nonlocal, dot_product"
    for name in BLOCKS.keys() - {"nonlocal"}:
        assert BLOCKS[name](2).kind == name
