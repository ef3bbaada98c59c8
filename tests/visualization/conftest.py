"""A map and a clip whose truth is known; sizes are distinct, so that a swapped axis cannot pass."""

import pytest
import torch
from torch import Tensor

from videonl.visualization import AttentionMap
from videonl.visualization.grid import centre_of

SIZE = (6, 40, 56)
GRID = (3, 5, 7)


def one_hot_map(key: tuple[int, int, int], keys: tuple[int, int, int] = GRID, weight: float = 1.0) -> AttentionMap:
    weights = torch.zeros(keys)
    weights[key] = weight
    cell = (1, 1, 2)
    return AttentionMap("layer2.0", centre_of(cell, GRID, SIZE), GRID, cell, weights)


@pytest.fixture
def one_hot():
    return one_hot_map


@pytest.fixture
def frames() -> Tensor:
    """Even grey, so that every coloured pixel was put there by the drawing."""
    return torch.full((*SIZE, 3), 90, dtype=torch.uint8)
