"""A map and a clip whose truth is known, of distinct sizes, so that a swapped axis cannot pass; pages in a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from videonl.visualization import AttentionMap, EvidenceMap
from videonl.visualization.grid import center_of

SIZE = (6, 40, 56)
GRID = (3, 5, 7)


def one_hot_map(key: tuple[int, int, int], keys: tuple[int, int, int] = GRID, weight: float = 1.0) -> AttentionMap:
    weights = torch.zeros(keys)
    weights[key] = weight
    cell = (1, 1, 2)
    return AttentionMap("layer2.0", center_of(cell, GRID, SIZE), GRID, cell, weights)


@pytest.fixture
def one_hot():
    return one_hot_map


@pytest.fixture
def evidence() -> EvidenceMap:
    """For one cell of a grid of 2 x 4 x 4, against another."""
    values = torch.zeros(2, 4, 4)
    values[0, 3, 1], values[1, 0, 0] = 0.5, -0.25
    return EvidenceMap("hug", 3, 0.875, "res5.2", values)


@pytest.fixture
def frames() -> Tensor:
    """Even gray, so that every colored pixel was put there by the drawing."""
    return torch.full((*SIZE, 3), 90, dtype=torch.uint8)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """``open_page(path, **options of the context)`` waits until it is ready; an error or a request fails the test."""
    contexts, problems = [], []

    def open_file(path: Path, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: problems.append(request.url) if "://" in request.url[5:] else None)
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert problems == []
