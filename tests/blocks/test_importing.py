"""Weights of public non-local blocks: golden vectors, and refusals that name what does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from videonl.blocks import NonLocal
from videonl.blocks.importing import Naming, load_public, rename_public

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
CASES: dict[str, tuple[Naming, dict[str, Any]]] = {
    "nonlocal_gaussian_postpool": ("alexhex7", {"pairwise": "gaussian"}),
    "nonlocal_embedded_gaussian_postpool": ("alexhex7", {}),
    "nonlocal_dot_product_postpool": ("alexhex7", {"pairwise": "dot_product"}),
    "nonlocal_concatenation_postpool": ("alexhex7", {"pairwise": "concatenation"}),
    "nonlocal_prepool_softmax_scaled": ("pyslowfast", {"pool_order": "pre", "scale": True}),
}


def public_weights(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """An embedded Gaussian of AlexHex7's for 5 channels, 3 inside, without norm; ``shapes`` replaces some."""
    sizes = {"theta": (3, 5), "phi_0": (3, 5), "g_0": (3, 5), "W": (5, 3), **shapes}
    weights = {}
    for name, (rows, columns) in sizes.items():
        weights[f"{name.replace('_', '.')}.weight"] = torch.full((rows, columns, 1, 1, 1), len(weights) + 0.5)
        weights[f"{name.replace('_', '.')}.bias"] = torch.full((rows,), len(weights) + 0.5)
    return weights


@pytest.mark.shared
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_block_agrees_with_a_public_implementation(case: str, dtype: torch.dtype, bound: float) -> None:
    path = GOLDEN / f"{case}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    golden = {key: torch.from_numpy(value) for key, value in np.load(path).items()}
    naming, options = CASES[case]
    block = NonLocal(6, dim_inner=3, **options).double().eval()
    load_public(block, {key.removeprefix("state."): golden[key] for key in golden if key.startswith("state.")}, naming)
    with torch.no_grad():
        z = block.to(dtype)(golden["input0"].to(dtype)).double()
    assert (z - golden["output"]).abs().max() / golden["output"].abs().max() < bound


def test_every_weight_arrives_under_its_name() -> None:
    block = NonLocal(5, dim_inner=3, norm="none")
    weights = public_weights()
    load_public(block, weights, "alexhex7")
    for public, own in (("theta", "theta"), ("phi.0", "phi"), ("g.0", "g"), ("W", "out")):
        for name in ("weight", "bias"):
            assert torch.equal(block.get_parameter(f"{own}.{name}"), weights[f"{public}.{name}"])


def test_the_vector_of_the_concatenation_keeps_theta_before_phi() -> None:
    renamed, left_over = rename_public({"concat_project.0.weight": torch.arange(6.0).reshape(1, 6, 1, 1)}, "alexhex7")
    assert left_over == []
    assert renamed["concat"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({**public_weights(), "sub.weight": torch.ones(1)}, "sub.weight has no counterpart"),
        ({**public_weights(), "W.1.weight": torch.ones(5)}, "norm.weight has no place in this block"),
        (public_weights(theta=(4, 5)), r"theta.weight has shape \(4, 5, 1, 1, 1\), not \(3, 5, 1, 1, 1\).*theta.bias"),
        ({key: value for key, value in public_weights().items() if key != "g.0.bias"}, "g.bias is missing"),
        ({}, "theta.weight is missing.*out.bias is missing"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_none_is_loaded(weights: dict[str, Tensor], message: str) -> None:
    block = NonLocal(5, dim_inner=3, norm="none")
    before = {key: value.clone() for key, value in block.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_public(block, weights, "alexhex7")
    assert all(torch.equal(value, before[key]) for key, value in block.state_dict().items())


def test_an_unknown_naming_is_refused() -> None:
    with pytest.raises(ValueError, match="naming must be one of alexhex7, pyslowfast; got 'mmcv'"):
        rename_public({}, "mmcv")  # type: ignore[arg-type]  # what users may write
