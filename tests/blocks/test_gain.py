"""The gain is that of the scale through which the change enters."""

from typing import Any

import pytest
import torch

from videonl.blocks import BLOCKS

CASES: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("nonlocal", {}, "norm", ["norm.weight"]),
    ("nonlocal", {"norm": "none"}, "W", ["out.weight", "out.bias"]),
    ("asymmetric_pyramid", {}, "W", ["out.weight", "out.bias"]),
    ("criss_cross", {}, "gamma", ["hop.gamma"]),
    ("axial", {}, "gamma", ["steps.0.gamma", "steps.1.gamma", "steps.2.gamma"]),
    ("axial", {"gate": "block"}, "gamma", ["gamma"]),
    ("gc", {}, "W", ["out.weight", "out.bias"]),
    ("se", {}, "W", ["out.weight", "out.bias"]),
]


@pytest.mark.parametrize(("name", "options", "of", "parameters"), CASES)
def test_gain_is_the_root_mean_square_of_the_last_scale(
    name: str, options: dict[str, Any], of: str, parameters: list[str]
) -> None:
    block = BLOCKS[name](11, **options)
    assert block.gain() == (0, of)  # as every block starts
    scale = [block.get_parameter(parameter) for parameter in parameters]
    scale[0].data.normal_(generator=torch.Generator().manual_seed(0))
    values = torch.cat([part.detach().double().flatten() for part in scale])
    assert block.gain().value == pytest.approx(float(values.square().mean().sqrt()))
