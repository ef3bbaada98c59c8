"""Blocks with known attention get the known figures and the right sentence, in a network around them."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import SE, AttentionBlock, NonLocal
from videonl.diagnostics import BlockDiagnosis, DiagnosedClip, Diagnosis, read_block
from videonl.diagnostics.blocks_off import made_alike, switched_off
from videonl.diagnostics.diagnosis import random_cells

GRID, SIZE = (3, 5, 7), (6, 40, 56)
NUM_POSITIONS = math.prod(GRID)
SECONDS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
Rule = Callable[[Tensor, Tensor], Tensor]


class Ruled(AttentionBlock):
    """Reads by a rule from the cells of queries (Q, 1, 3) and of keys (1, N, 3); of alike keys it reads all."""

    def __init__(self, rule: Rule, scale: float = 0.5):
        super().__init__()
        self.rule = rule
        self.out = nn.Conv3d(1, 1, 1, bias=False)
        nn.init.constant_(self.out.weight, scale)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.attention(x, torch.arange(NUM_POSITIONS)).flatten(2)  # (B, N, N)
        return x + self.out(torch.einsum("bnm,bcm->bcn", weights, x.flatten(2)).reshape(x.shape))

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        query, key = (torch.stack(torch.unravel_index(at, GRID), dim=-1) for at in (queries, torch.arange(105)))
        read = self.rule(query[:, None], key[None]).to(x.dtype) if x.any() else x.new_ones(len(queries), NUM_POSITIONS)
        return (read / read.sum(dim=1, keepdim=True)).reshape(1, -1, *GRID).expand(len(x), -1, -1, -1, -1)


def uniform(query: Tensor, key: Tensor) -> Tensor:
    return torch.ones(len(query), key.shape[1])


def identity(query: Tensor, key: Tensor) -> Tensor:
    return (query == key).all(dim=-1)


def same_frame(query: Tensor, key: Tensor) -> Tensor:
    return (query == key)[..., 0]


def same_place(query: Tensor, key: Tensor) -> Tensor:
    return (query == key)[..., 1:].all(dim=-1) & (query != key)[..., 0]


class Network(nn.Module):
    """Blocks on a grid of 3 x 5 x 7 from a clip of 6 x 40 x 56; class 0 where the mean is above 0.6."""

    def __init__(self, *blocks: AttentionBlock):
        super().__init__()
        self.stem = nn.AvgPool3d((2, 8, 8))
        self.parts = nn.ModuleList(blocks)
        self.blocks = {f"res3.{index}": block for index, block in enumerate(blocks)}

    def forward(self, clip: Tensor) -> Tensor:
        x = self.stem(clip)[:, :1]
        for block in self.parts:
            x = block(x)
        mean = x.mean(dim=(1, 2, 3, 4))
        return torch.stack([mean, 1.2 - mean], dim=1)


# A block by a rule takes the mean 0.5 to 0.75, across the bound between the classes, and 0.2 to 0.3.
LEVELS = [(0.5, 0), (0.2, 1), (0.5, 0), (0.2, 1), (0.5, 0), (0.5, 0), (0.5, 0), (0.5, 0)]


def clips() -> list[DiagnosedClip]:
    generator = torch.Generator().manual_seed(0)
    return [
        DiagnosedClip(
            number, f"{number}.mp4", label, level + 0.01 * torch.rand(1, 3, *SIZE, generator=generator), SECONDS
        )
        for number, (level, label) in enumerate(LEVELS)
    ]


def diagnosed(*blocks: AttentionBlock, num_queries: int = NUM_POSITIONS) -> tuple[Diagnosis, list[BlockDiagnosis]]:
    network = Network(*blocks).eval()
    diagnosis = Diagnosis(network, network.blocks, ["large", "small"], num_queries)
    for clip in clips():
        diagnosis.add(clip)
    return diagnosis, list(diagnosis.blocks_diagnosed())


def kinds(block: BlockDiagnosis) -> list[str]:
    return [finding.kind for finding in read_block(block, len(LEVELS))]


SHARES = {  # itself, own frame, own place, elsewhere
    uniform: (1 / 105, 34 / 105, 2 / 105, 68 / 105),
    identity: (1, 0, 0, 0),
    same_frame: (1 / 35, 34 / 35, 0, 0),
    same_place: (0, 0, 1, 0),
}
NUM_READ = {uniform: 105, identity: 1, same_frame: 35, same_place: 2}
SENTENCES = {
    uniform: ("even", "is close to uniform: moving 0.000 of its weight makes it uniform (below 0.05)"),
    identity: ("itself", "attends mostly to its own position; a 1x1x1 convolution would be enough: 1.00 of its weight"),
    same_frame: ("own_frame", "attends mostly to its own frame: 1.00 of its weight (uniform attention: 0.33)"),
    same_place: ("own_place", "attends mostly to its own place in other frames: 1.00 of its weight"),
}


@pytest.mark.parametrize("rule", SHARES)
def test_known_attention_has_known_figures(rule: Rule) -> None:
    _, (block,) = diagnosed(Ruled(rule))
    attention = block.attention
    assert attention is not None
    assert attention.looking[1:5] == pytest.approx(SHARES[rule], abs=1e-6)
    assert attention.even[1:5] == pytest.approx(SHARES[uniform], abs=1e-6)
    assert attention.looking.entropy == pytest.approx(math.log(NUM_READ[rule]) / math.log(105), abs=1e-6)
    assert attention.unevenness == pytest.approx(1 - NUM_READ[rule] / 105, abs=1e-6)
    assert (block.grid, attention.num_keys, block.gain) == (GRID, 105, (0.5, "W"))


@pytest.mark.parametrize("rule", SHARES)
def test_known_attention_is_read_in_the_right_words(rule: Rule) -> None:
    _, (block,) = diagnosed(Ruled(rule))
    kind, words = SENTENCES[rule]
    (text,) = (finding.text for finding in read_block(block, len(LEVELS)) if finding.kind == kind)
    assert text.startswith(words)
    others = {kind for kind, _ in SENTENCES.values()} - {kind}
    assert not others & set(kinds(block))


@pytest.mark.parametrize(
    # In the same frame are 34 of 104 other queries, and read the same; the others read nothing in common.
    ("rule", "distance"),
    [(uniform, 0), (identity, 0.5), (same_frame, 0.5 * 70 / 104)],
)
def test_distances_between_queries_maps(rule: Rule, distance: float) -> None:
    _, (block,) = diagnosed(Ruled(rule))
    assert block.attention is not None
    assert block.attention.query_distance == pytest.approx(distance, abs=1e-6)


def test_a_block_that_matters_and_one_that_is_zero() -> None:
    diagnosis, (zeroed, needed) = diagnosed(Ruled(identity, scale=0), Ruled(uniform))
    assert [score.prediction for score in diagnosis.scores] == [label for _, label in LEVELS]
    assert (zeroed.contribution, zeroed.gain.value) == (0, 0)
    assert (zeroed.effect.lost, zeroed.effect.num_changed, zeroed.effect.interval) == (0, 0, (0, 0))
    assert kinds(zeroed)[0] == "no_effect"
    assert "its gain (W) is 0" in read_block(zeroed, len(LEVELS))[0].text
    assert needed.contribution == pytest.approx(0.5, abs=1e-3)
    assert (needed.effect.top1, needed.effect.lost, needed.effect.num_changed) == (0.25, 0.75, 6)
    assert needed.effect.p_value == pytest.approx(2 / 2**6)
    assert kinds(needed)[0] == "matters"
    assert diagnosis.all_off() == needed.effect  # the other does nothing


def test_a_block_that_reads_by_query_without_need() -> None:
    _, (block,) = diagnosed(Ruled(identity))
    assert block.alike is not None and block.alike.num_changed == 0  # the mean of the changes has the same mean
    assert "gc_would_do" in kinds(block)


def test_a_softmax_that_reads_one_key_is_named_saturated() -> None:
    _, (one, frame, all_alike) = diagnosed(Ruled(identity), Ruled(same_frame), Ruled(uniform))
    assert ["saturated" in kinds(block) for block in (one, frame, all_alike)] == [True, False, False]


def test_the_largest_affinity_of_all_clips_is_told_and_large_ones_are_named() -> None:
    block = NonLocal(1, pairwise="gaussian", subsample=False)
    _, (found,) = diagnosed(block)
    largest = max(float(nn.AvgPool3d((2, 8, 8))(clip.pixels)[:, :1].max()) for clip in clips())
    assert found.affinity == pytest.approx(largest**2, rel=1e-5)
    assert "saturated" not in kinds(found)
    assert found.attention is not None
    uneven = found.attention._replace(unevenness=0.5)
    assert "saturated" in kinds(replace(found, affinity=100.0, attention=uneven))


def test_squeeze_and_excitation_has_gain_and_accuracy_alone() -> None:
    _, (block,) = diagnosed(SE(1))
    assert (block.attention, block.has_attention, block.alike) == (None, False, None)
    assert block.contribution == pytest.approx(0.5)  # it starts as 0.5 x
    assert kinds(block)[-1] == "average"


def test_blocks_are_as_they_were_afterwards() -> None:
    block = NonLocal(11)
    nn.init.ones_(block.norm.weight)
    block.eval()
    x = torch.randn(1, 11, *GRID, generator=torch.Generator().manual_seed(0))
    before = block(x)
    with switched_off([block]):
        assert block(x) is x
    with made_alike(block):
        change = block(x) - x
    torch.testing.assert_close(change, (before - x).mean(dim=(2, 3, 4), keepdim=True).expand_as(x))
    with pytest.raises(ZeroDivisionError), made_alike(block):
        1 / 0  # noqa: B018  # the error is what matters
    assert torch.equal(block(x), before)
    assert "forward" not in vars(block)


def test_changing_alike_is_reading_with_the_mean_of_all_queries_weights() -> None:
    block = NonLocal(11).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    block.norm.running_mean.normal_(generator=generator)
    block.eval()
    x = torch.randn(1, 11, *GRID, generator=generator, dtype=torch.float64)
    weights = block.attention(x, torch.arange(NUM_POSITIONS))[0].mean(dim=0)  # (T', H', W')
    values = block._pool(block.g(x))
    context = (values * weights).sum(dim=(2, 3, 4), keepdim=True)
    with made_alike(block):
        torch.testing.assert_close(block(x), x + block.norm(block.out(context)), rtol=1e-10, atol=1e-10)


def test_a_compiled_network_is_diagnosed_as_the_plain_one() -> None:
    _, (block,) = diagnosed(Ruled(uniform))
    network = Network(Ruled(uniform)).eval()
    network.compile(backend="eager")
    network(clips()[0].pixels)  # traced, with the block switched on
    diagnosis = Diagnosis(network, network.blocks, ["large", "small"], NUM_POSITIONS)
    for clip in clips():
        diagnosis.add(clip)
    assert next(diagnosis.blocks_diagnosed()).effect == block.effect
    torch.compiler.reset()


def test_random_cells_are_distinct_inside_and_repeat() -> None:
    cells = random_cells(GRID, 31, (3, 5))
    assert cells.shape == (31, 3) and len({tuple(cell) for cell in cells.tolist()}) == 31
    assert (cells >= 0).all() and (cells < torch.tensor(GRID)).all()
    assert torch.equal(cells, random_cells(GRID, 31, (3, 5)))
    assert not torch.equal(cells, random_cells(GRID, 31, (3, 6)))
    assert len(random_cells(GRID, 1000, (0, 0))) == NUM_POSITIONS
