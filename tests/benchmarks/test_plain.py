"""The plain forms compute what the blocks compute, forward and backward."""

import pytest
import torch

from videonl.benchmarks.cases import BUILDERS, CASES, Case

SAME = [case for case in CASES if case.same_mathematics]
GRIDS = [(2, 5, 7), (3, 1, 11), (1, 3, 2)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("case", SAME, ids=lambda case: case.name)
def test_both_sides_compute_the_same_numbers_and_gradients(case: Case, grid: tuple[int, int, int]) -> None:
    block = case.ours.build(13).double()
    x = torch.randn(2, 13, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    ours, plain = case.ours(block, x), case.plain(block, x)
    assert not torch.allclose(plain, x)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    wanted = [x, *block.parameters()]
    towards = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for a, b in zip(
        torch.autograd.grad(ours, wanted, towards), torch.autograd.grad(plain, wanted, towards), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_every_block_has_a_plain_form_of_the_same_mathematics() -> None:
    assert {case.ours.block for case in SAME} == BUILDERS.keys()


@pytest.mark.parametrize("block", ["apnb", "criss_cross", "gc"])
def test_cheaper_blocks_are_compared_with_the_embedded_gaussian_without_subsampling(block: str) -> None:
    case = next(case for case in CASES if case.name == f"{block}_vs_embedded_gaussian")
    assert (case.plain.block, case.plain.form) == ("embedded_gaussian", "matrix")
    assert not case.same_mathematics
