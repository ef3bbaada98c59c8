import pytest
import torch
from torch import Tensor, nn

from videonl.blocks.contract import AttentionBlock
from videonl.errors import UserError
from videonl.visualization import AttentionMap, attention_maps

SIZE = (6, 40, 56)
CLIP = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


class Mirror(AttentionBlock):
    """Position n attends to position N - 1 - n alone; features change at one chosen position."""

    def __init__(self, changed: tuple[int, int, int] | None = None):
        super().__init__()
        self.changed = changed
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.changed is None:
            return x
        t, y, column = self.changed
        change = torch.zeros_like(x)
        change[:, :, t, y, column] = -3
        return x + change

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        self.asked.append(queries)
        num_positions = x[0, 0].numel()
        weights = nn.functional.one_hot(num_positions - 1 - queries, num_positions)
        return weights.view(1, len(queries), *x.shape[2:]).to(x.dtype)


class Network(nn.Module):
    """Grid of 3 x 10 x 14 at the first block and 3 x 5 x 7 at the second, from a clip of 6 x 40 x 56."""

    def __init__(self, first: AttentionBlock, second: AttentionBlock):
        super().__init__()
        self.stem = nn.Conv3d(3, 4, 3, stride=(2, 4, 4), padding=1)
        self.first, self.second = first, second
        self.down = nn.Conv3d(4, 8, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.norm = nn.BatchNorm3d(8)

    def forward(self, clip: Tensor) -> Tensor:
        # In-place on the block's output: whoever looks at it afterwards sees other features.
        features = self.first(self.stem(clip)).relu_()
        return self.second(self.norm(self.down(features))).mul_(0)

    @property
    def blocks(self) -> dict[str, AttentionBlock]:
        return {"second": self.second, "first": self.first}


def one_map_each(network: Network, query: tuple[int, int, int] | None = None) -> list[AttentionMap]:
    maps = attention_maps(network, network.blocks, CLIP, [query])
    assert list(maps) == list(network.blocks)
    assert all(len(found) == 1 for found in maps.values())
    return [found for (found,) in maps.values()]


def test_asked_query_lands_in_its_cell_of_each_grid():
    network = Network(Mirror(), Mirror())
    second, first = one_map_each(network, query=(3, 17, 50))
    assert (first.block, first.grid, first.cell, first.query) == ("first", (3, 10, 14), (1, 4, 12), (3, 18, 50))
    assert (second.block, second.grid, second.cell, second.query) == ("second", (3, 5, 7), (1, 2, 6), (3, 20, 52))
    assert second.weights.nonzero().tolist() == [[1, 2, 0]]
    assert first.weights.nonzero().tolist() == [[1, 5, 1]]
    assert first.weights.dtype == torch.float32 and first.weights.shape == (3, 10, 14)


def test_only_the_asked_queries_are_computed():
    network = Network(Mirror(changed=(2, 7, 3)), Mirror())
    maps = attention_maps(network, network.blocks, CLIP, [(0, 0, 8), None, (5, 39, 55)])
    asked = [2, 2 * 140 + 7 * 14 + 3, 419]
    assert [queries.tolist() for queries in network.first.asked] == [asked]
    assert [found.cell for found in maps["first"]] == [(0, 0, 2), (2, 7, 3), (2, 9, 13)]
    assert [int(found.weights.argmax()) for found in maps["first"]] == [419 - query for query in asked]


def test_without_a_query_the_most_changed_position_is_asked():
    network = Network(Mirror(changed=(2, 7, 3)), Mirror(changed=(0, 1, 4)))
    second, first = one_map_each(network)
    assert first.cell == (2, 7, 3)
    assert second.cell == (0, 1, 4)
    assert first.query == (5, 30, 14)


def test_a_block_that_changes_nothing_is_asked_for_its_center():
    network = Network(Mirror(), Mirror())
    assert [found.cell for found in one_map_each(network)] == [(1, 2, 3), (1, 5, 7)]


def test_network_is_left_as_it_was():
    network = Network(Mirror(), Mirror()).train()
    network.norm.eval()
    statistics = network.norm.running_mean.clone()
    attention_maps(network, network.blocks, CLIP)
    assert network.training and network.first.training and not network.norm.training
    assert not network.first._forward_hooks and not network.second._forward_hooks
    assert torch.equal(network.norm.running_mean, statistics)


def test_network_is_left_as_it_was_after_an_error():
    network = Network(Mirror(), Mirror()).train()
    with pytest.raises(RuntimeError):
        attention_maps(network, network.blocks, CLIP[:, :2])
    assert network.training and network.norm.training
    assert not network.first._forward_hooks and not network.second._forward_hooks


@pytest.mark.parametrize("query", [(6, 0, 0), (0, 40, 0), (0, 0, 56), (-1, 0, 0)])
def test_query_outside_the_clip(query):
    network = Network(Mirror(), Mirror())
    with pytest.raises(UserError, match=r"\(6, 40, 56\).*frame 0 to 5, y 0 to 39, x 0 to 55"):
        attention_maps(network, network.blocks, CLIP, [None, query])


def test_network_without_blocks():
    with pytest.raises(UserError, match=r"no attention blocks inserted.*inserts blocks"):
        attention_maps(nn.Identity(), {}, CLIP)


def test_blocks_of_another_network():
    network = Network(Mirror(), Mirror())
    with pytest.raises(ValueError, match=r"did not run the blocks \['other'\]"):
        attention_maps(network, {**network.blocks, "other": Mirror()}, CLIP)


def test_more_than_one_clip():
    network = Network(Mirror(), Mirror())
    with pytest.raises(ValueError, match="one clip"):
        attention_maps(network, network.blocks, CLIP.expand(2, -1, -1, -1, -1))


def test_weights_that_are_not_finite():
    class Broken(Mirror):
        def attention(self, x: Tensor, queries: Tensor) -> Tensor:
            return super().attention(x, queries) * float("nan")

    network = Network(Mirror(), Broken())
    with pytest.raises(UserError, match=r"'second'.*not finite"):
        attention_maps(network, network.blocks, CLIP)
