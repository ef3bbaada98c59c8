"""Does every block learn what two places together tell, and each of them alone does not?

A small version of the synthetic data set and of configs/study/every_block.yaml: two cues at random places of a grid,
each of one of two kinds; the class says whether they are the same. What surrounds the blocks sees one position at a
time and counts: it can tell no more than three of the four pairs, since a threshold on a count cannot tell one from
none and two.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.blocks import BLOCKS, AttentionBlock

GRID, NUM_CHANNELS, WIDTH = (2, 2, 3), 8, 16
NUM_STEPS, BATCH, LR = 300, 64, 0.01
CEILING_PERCENT, LEARNED_PERCENT, NUM_TESTED = 79, 90, 997  # 75, and four standard deviations of so many clips
SIZES = ((1, 1, 1), (2, 2, 3))
VARIANTS: dict[str, tuple[str, int, dict[str, Any]]] = {  # how many blocks in a row
    "embedded Gaussian": ("nonlocal", 2, {}),
    "Gaussian": ("nonlocal", 1, {"pairwise": "gaussian"}),
    "dot product": ("nonlocal", 2, {"pairwise": "dot_product"}),
    "concatenation": ("nonlocal", 2, {"pairwise": "concatenation"}),
    "asymmetric pyramid": ("asymmetric_pyramid", 1, {"sizes": SIZES}),
    "asymmetric fusion": ("asymmetric_fusion", 1, {"low_channels": WIDTH, "sizes": SIZES}),
    "criss-cross": ("criss_cross", 1, {"gate": "block"}),
    "axial": ("axial", 2, {"gate": "block"}),
    "SNL": ("snl", 1, {}),
    "GC": ("gc", 1, {"ratio": 4}),
    "SE": ("se", 1, {"ratio": 4}),
}


def draw(number: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features (B, C, T, H, W) and classes (B,)."""
    num_positions = GRID[0] * GRID[1] * GRID[2]
    features = 0.1 * torch.randn(number, NUM_CHANNELS, num_positions, generator=random)
    kinds = torch.randint(2, (number, 2), generator=random)
    places = torch.rand(number, num_positions, generator=random).argsort(dim=1)[:, :2]
    for cue in range(2):
        features[torch.arange(number), kinds[:, cue], places[:, cue]] += 3
    return features.unflatten(2, GRID), (kinds[:, 0] == kinds[:, 1]).long()


class Net(nn.Module):
    """Two layers that see one position each, with blocks between them, and an average of all positions."""

    def __init__(self, blocks: list[AttentionBlock]) -> None:
        super().__init__()
        self.first, self.blocks = nn.Conv3d(NUM_CHANNELS, WIDTH, 1), nn.ModuleList(blocks)
        self.second, self.head = nn.Conv3d(WIDTH, WIDTH, 1), nn.Linear(WIDTH, 2)

    def forward(self, clips: Tensor) -> Tensor:
        low = features = self.first(clips).relu()
        for block in self.blocks:
            features = block(features, low) if block.takes_low else block(features)
        return self.head(self.second(features).relu().flatten(2).mean(dim=2))


def percent_correct(blocks: list[AttentionBlock], seed: int) -> float:
    random = torch.Generator().manual_seed(seed)
    net = Net(blocks)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=NUM_STEPS, pct_start=0.1)
    for _ in range(NUM_STEPS):
        clips, classes = draw(BATCH, random)
        loss = F.cross_entropy(net(clips), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    clips, classes = draw(NUM_TESTED, random)
    with torch.no_grad():
        return 100 * float((net(clips).argmax(dim=1) == classes).float().mean())


def test_without_a_block_the_pairs_cannot_be_told() -> None:
    torch.manual_seed(0)
    assert percent_correct([], seed=0) < CEILING_PERCENT


@pytest.mark.parametrize("name", VARIANTS)
def test_every_block_learns(name: str) -> None:
    block, number, options = VARIANTS[name]
    torch.manual_seed(0)
    blocks = [BLOCKS[block](WIDTH, **options) for _ in range(number)]
    assert percent_correct(blocks, seed=0) >= LEARNED_PERCENT


def test_no_block_is_left_out() -> None:
    forms = {"global_context"}  # its forms are snl and gc
    assert {block for block, *_ in VARIANTS.values()} == set(BLOCKS) - forms
