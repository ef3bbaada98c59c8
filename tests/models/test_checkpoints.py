"""Trained networks come back from their checkpoint, and anything else is refused in words."""

import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.checkpoints import load_trained

CLASS_NAMES = ["wave", "clap, once", "jump"]


@pytest.fixture
def network() -> ClipClassifier:
    network = ClipClassifier("c2d_r50", 3, [Insertion("nonlocal", {"res3": [1]}, {"scale": True})], width=4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    return network


@pytest.fixture
def checkpoint(network: ClipClassifier) -> dict[str, Any]:
    """What a training run saves, as far as the network is concerned, and something of the rest."""
    about = {"network": network.settings, "class_names": CLASS_NAMES, "clip": asdict(ClipFormat(num_frames=5))}
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    return {"epoch": 3, "state_dict": {**state, "criterion.weight": torch.ones(3)}, "videonl": about}


def save(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_trained_network_comes_back(network: ClipClassifier, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    trained = load_trained(save(checkpoint, tmp_path / "last.ckpt"))
    assert trained.class_names == CLASS_NAMES
    assert trained.clip == asdict(ClipFormat(num_frames=5))
    assert ClipFormat(**trained.clip) == ClipFormat(num_frames=5)
    assert trained.network.settings == network.settings
    assert not any(module.training for module in trained.network.modules())
    clip = torch.randn(2, 3, 5, 37, 41)
    assert torch.equal(trained.network(clip), network.eval()(clip))


def test_a_path_may_be_a_string(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    assert load_trained(str(save(checkpoint, tmp_path / "last.ckpt"))).class_names == CLASS_NAMES


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_trained(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nothing.ckpt")


def test_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    refusal(tmp_path)


GARBAGE = {
    "empty": b"",
    "text": b"hello\n",
    "csv": b"epoch,loss\n1,2\n",
    "yaml": b"model:\n  backbone: i3d_r50\n",
    "zip without an end": b"PK\x03\x04 and nothing that belongs to it",
    "pickle header alone": b"\x80\x02",
    "newer pickle header": b"\x80\x04\x95",
    "noise": bytes(range(251, 3, -7)) * 13,
    "zeros": b"\x00" * 997,
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "garbage.ckpt"
    path.write_bytes(content)
    assert "cannot be read as a checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_file_is_refused(checkpoint: dict[str, Any], tmp_path: Path, share: float) -> None:
    path = save(checkpoint, tmp_path / "last.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "copied completely" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        {"model_state": {"blocks.0.conv.weight": torch.ones(3)}, "cfg": "SLOW"},
        {"state_dict": {"conv.weight": torch.ones(3)}, "pytorch-lightning_version": "2.5.0"},
        {"conv.weight": torch.ones(3)},
        {},
        torch.ones(3),
        [1, 2],
    ],
    ids=["pytorchvideo", "lightning", "weights", "empty", "tensor", "list"],
)
def test_foreign_checkpoint_is_refused(content: object, tmp_path: Path) -> None:
    assert "videonl fit" in refusal(save(content, tmp_path / "foreign.pyth"))


def test_network_without_settings_cannot_be_rebuilt(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    checkpoint["videonl"]["network"] = None
    assert "ClipClassifier" in refusal(save(checkpoint, tmp_path / "own.ckpt"))


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.trace),))


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_code_in_a_checkpoint_does_not_run(checkpoint: dict[str, Any], tmp_path: Path, plain_pickle: bool) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.ckpt"
    if plain_pickle:
        path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    else:
        save({**checkpoint, "extra": Malicious(trace)}, path)
    told = refusal(path)
    assert "holds code, which was not run" in told and "posix.mkdir" in told
    assert not trace.exists()


def test_the_attack_itself_is_sound(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(tmp_path / "trace"), protocol=2))
    assert (tmp_path / "trace").is_dir()


@pytest.mark.parametrize("damage", ["a weight is missing", "a weight has another shape"])
def test_weights_that_do_not_fit_their_own_network_are_refused(checkpoint, tmp_path: Path, damage: str) -> None:
    key = "network.network.blocks.0.conv.weight"
    if damage == "a weight is missing":
        del checkpoint["state_dict"][key]
    else:
        checkpoint["state_dict"][key] = torch.ones(3)
    refusal(save(checkpoint, tmp_path / "damaged.ckpt"))


def test_code_that_a_checkpoint_names_does_not_run(checkpoint: dict[str, Any], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attack = {"backbone": "os.mkdir", "backbone_options": {"path": str(trace), "num_classes_argument": "mode"}}
    checkpoint["videonl"]["network"] = {"num_classes": 0o700, "blocks": [], **attack}
    path = save(checkpoint, tmp_path / "evil.ckpt")
    assert "os.mkdir" in refusal(path)
    assert not trace.exists()
    with pytest.raises(UserError, match=r"not a torch\.nn\.Module"):
        load_trained(path, trust_code=True)
    assert trace.exists()  # the attack itself is sound


def test_models_of_the_libraries_need_no_trust(tmp_path: Path) -> None:
    options = {"weights": None, "num_classes_argument": "num_classes"}
    network = ClipClassifier("torchvision.models.video.mc3_18", 3, backbone_options=options)
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    about = {"network": network.settings, "class_names": CLASS_NAMES, "clip": asdict(ClipFormat())}
    trained = load_trained(save({"state_dict": state, "videonl": about}, tmp_path / "mc3.ckpt"))
    assert trained.network.settings == network.settings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"class_names": ["run"]}, r"does not name the 3 classes of its network, but \['run'\]"),
        ({"class_names": [1, None, "run"]}, "does not name the 3 classes of its network, but"),
        ({"task": "os.system"}, "is of the task 'os.system', and known are single_label, multi_label"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    checkpoint: Any, tmp_path: Path, changed: Any, message: str
) -> None:
    about = {**checkpoint["videonl"], **changed}
    with pytest.raises(UserError, match=message):
        load_trained(save({**checkpoint, "videonl": about}, tmp_path / "changed.ckpt"))


def test_more_classes_than_any_memory_holds_are_refused() -> None:
    with pytest.raises(UserError, match="num_classes must be at most 100,000"):
        ClipClassifier("c2d_r50", 10**12, width=3)
