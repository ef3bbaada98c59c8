"""The share of the weight on a cue whose place is known."""

import math

import pytest
import torch
from torch import Tensor

from videonl.blocks.contract import AttentionBlock
from videonl.data.synthetic.clues import Box
from videonl.diagnostics.cue import Clued, CueShare, cue_share, mean_by_kind

SIZE, GRID = (6, 40, 56), (3, 5, 7)
# Frame 0 and 1 are key frame 0; rows 8 to 15 cell 1; columns 20 to 33 touch cells 2, 3 and 4.
CLUED = Clued(
    ("cue pole", "probe bar"), Box([0, 1], range(8, 16), range(20, 34)), Box([4, 5], range(30, 38), range(0, 10))
)


class Known(AttentionBlock):
    """Every query reads the cue's cell (0, 1, 3) with 0.75 and its own with 0.25."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        self.asked = queries.tolist()
        weights = torch.zeros(len(queries), *GRID)
        weights[:, 0, 1, 3] = 0.75
        for row, query in zip(weights, queries.tolist(), strict=True):
            row.flatten()[query] += 0.25
        return weights[None]


def test_the_probe_asks_and_the_cue_is_weighed() -> None:
    block = Known()
    share = cue_share(block, "res3.1", (torch.ones(1, 2, *GRID),), CLUED, SIZE)
    # The middle of the probe is pixel (34, 5) of frames 4 and 5: one cell of this grid, (2, 4, 0).
    assert block.asked == [2 * 35 + 4 * 7 + 0]
    assert share == CueShare(0.75, pytest.approx(1 / 3 * 1 / 5 * 3 / 7), 0.25)
    assert share.ratio == pytest.approx(0.75 * 35)


def test_a_block_that_reads_nothing_has_no_share() -> None:
    block = Known()
    block.attention = lambda x, queries: torch.zeros(1, len(queries), *GRID)  # type: ignore[method-assign]  # for a test
    assert cue_share(block, "res3.1", (torch.ones(1, 2, *GRID),), CLUED, SIZE) is None


def test_means_by_kind_and_of_all() -> None:
    found = [
        (("cue bar", "probe pole"), CueShare(0.0, 0.1, 0.0)),
        (("cue bar", "probe bar"), CueShare(1.0, 0.2, 0.0)),
        (("cue pole", "probe bar"), CueShare(0.5, 0.3, 0.5)),
    ]
    rows = {row.kind: row for row in mean_by_kind(found)}
    assert list(rows) == ["cue bar", "cue pole", "probe bar", "probe pole", "all"]
    assert (rows["probe bar"].num_clips, rows["probe bar"].share) == (2, CueShare(0.75, 0.25, 0.25))
    assert rows["cue bar"].share.on_cue == 0.5
    assert rows["all"].num_clips == 3 and math.isclose(rows["all"].share.area, 0.2)
    assert mean_by_kind([]) == []
