"""Multiply-adds by the counter, against formulas, published tables and fvcore."""

import math

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS, GC, NonLocal
from videonl.ops import fused_softmax
from videonl.profiling import count_macs, profile_network
from videonl.profiling.imitation import imitate

B, C, T, H, W = 1, 22, 3, 4, 6
N = T * H * W


def macs_of(block: nn.Module) -> int:
    with imitate(block.eval()) as imitation, torch.no_grad():
        x = torch.empty(B, C, T, H, W)
        return count_macs(lambda: torch.func.functional_call(block, imitation.tensors, (x,)))


@pytest.mark.parametrize(("name", "gmacs"), [("c2d_r50", 19.62), ("i3d_r50", 28.54), ("slow_r50", 41.92)])
def test_backbones_take_what_their_table_says(name: str, gmacs: float) -> None:
    with torch.device("meta"):
        backbone = BACKBONES[name](400)
    rows = profile_network(backbone.network, backbone.stages, {}, (8, 224, 224))
    assert sum(row.macs for row in rows) / 1e9 == pytest.approx(gmacs, abs=0.005)


# Without the grouped shuffles and reshapes that fvcore does not know, it counts the same operators.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "options"), [("c2d_r50", {"width": 4}), ("i3d_r50", {"width": 4}), ("mc3_18", {}), ("s3d", {})]
)
def test_the_count_is_fvcores(name: str, options: dict[str, int]) -> None:
    backbone = BACKBONES[name](11, **options)
    clip = torch.zeros(1, 3, 5, 33, 37)
    analysis = FlopCountAnalysis(backbone.network.eval(), clip).unsupported_ops_warnings(False)
    rows = profile_network(backbone.network, backbone.stages, {}, (5, 33, 37))
    assert sum(row.macs for row in rows) == analysis.uncalled_modules_warnings(False).total()


M, CI = T * (H // 2) * (W // 2), C // 2
PROJECTIONS = 4 * N * C * CI + 2 * N * C  # theta, phi, g, W, and the norm after them


@pytest.mark.parametrize(
    ("pairwise", "expected"),
    [
        ("embedded_gaussian", PROJECTIONS + 2 * N * M * CI),
        # The keys' product with the values first, then the queries': linear in N.
        ("dot_product", PROJECTIONS + M * CI * CI + N * CI * CI),
        # phi as for the others, then its product with w_phi on the pooled grid; theta folded into one vector of C
        # numbers, whose bias is a product of Ci.
        ("concatenation", PROJECTIONS - N * C * CI + M * CI + C * CI + CI + N * C),
    ],
)
def test_nonlocal_forms_take_what_their_formulas_say(pairwise: str, expected: int) -> None:
    assert macs_of(NonLocal(C, pairwise=pairwise)) == expected


def test_attention_takes_no_more_than_its_products_on_wide_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without projections for queries, whose 22 channels are twice as wide as the values."""
    projections = 2 * N * C * CI + 2 * N * C
    assert macs_of(NonLocal(C, pairwise="gaussian")) == projections + N * M * (C + CI)
    monkeypatch.setattr(fused_softmax, "WRITTEN_OUT_NUMEL", 0)
    assert macs_of(NonLocal(C, pairwise="gaussian")) == projections + 2 * N * M * C  # the fused kernel's are padded


def test_global_context_takes_what_its_formula_says() -> None:
    narrow = C // 11
    pooling, transform = 2 * N * C, 2 * C * narrow + 5 * narrow
    assert macs_of(GC(C, ratio=11)) == pooling + transform


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_grows_with_the_batch(name: str) -> None:
    """An operator that is not counted at all would leave a block without cost."""
    assert macs_of(BLOCKS[name](C)) > 0


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: torch.ones(3, 5) @ torch.ones(5), 15),
        (lambda: torch.ones(5) @ torch.ones(5), 5),
        (lambda: torch.addmv(torch.ones(3), torch.ones(3, 5), torch.ones(5)), 15),
        (lambda: torch.ones(2, 3, 5) @ torch.ones(2, 5, 7), 210),
        (lambda: nn.BatchNorm3d(3).eval()(torch.ones(2, 3, 5, 7, 11)), 2 * math.prod((2, 3, 5, 7, 11))),
        (lambda: nn.GroupNorm(1, 3)(torch.ones(2, 3, 5)), 5 * 30),
        (lambda: torch.ones(2, 3).cumsum(0) * 3 + 1, 0),
    ],
)
def test_single_operators(work, expected: int) -> None:
    assert count_macs(work) == expected
