"""Shared folders: the network that went in comes out, and nothing else is taken for one."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import videonl
from tests.small_weights import CLIP
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.checkpoints import load_trained, read_weights
from videonl.models.sharing import CONFIG, WEIGHTS, write_shared
from videonl.models.weights import Weights
from videonl.models.zoo import find_weights

CLASSES = ["hug", "kick", "point"]


@pytest.fixture(scope="module")
def weights() -> Weights:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = ClipClassifier("c2d_r50", 3, [Insertion("nonlocal", {"res3": [1]})], width=3)
        state = {
            key: torch.rand_like(value) * 0.2 + 0.05 if value.is_floating_point() else value
            for key, value in network.network.state_dict().items()
        }
    return Weights(state, "drawn", network.settings, clip=CLIP, class_names=CLASSES, license="CC BY-NC 4.0")


@pytest.fixture(scope="module")
def shared(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "mine"
    assert write_shared(folder, weights, {"README.md": "# mine\n"}, "0.1.0")
    return folder


def test_logits_are_equal_to_the_bit(weights: Weights, shared: Path, tmp_path: Path) -> None:
    weights.save(tmp_path / "mine.pt")
    original, found = videonl.load(tmp_path / "mine.pt", device="cpu"), videonl.load(shared, device="cpu")
    frames = torch.randint(0, 256, (13, 41, 53, 3), dtype=torch.uint8)
    clips = original.preprocess(frames, num_clips=2)
    assert torch.equal(clips, found.preprocess(frames, num_clips=2))
    with torch.inference_mode():
        assert torch.equal(original.network(clips), found.network(clips))
    assert found.clip == original.clip == ClipFormat(**CLIP)
    assert found.class_names == CLASSES and found.source == str(shared)
    assert read_weights(shared).license == "CC BY-NC 4.0"


def test_a_training_may_start_from_it(weights: Weights, shared: Path) -> None:
    found = find_weights(str(shared), ClipClassifier("c2d_r50", 7, width=3))
    assert found.state.keys() == weights.state.keys()


def test_sharing_again_changes_nothing_and_other_content_is_kept(
    weights: Weights, shared: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(shared, folder)
    (folder / "README.md").write_text("# edited\n")
    assert not write_shared(folder, weights, {"README.md": "# mine\n"}, "0.1.0")
    assert (folder / "README.md").read_text() == "# edited\n"
    with pytest.raises(UserError, match=r"again holds something else, which would be lost: config\.json is missing or"):
        write_shared(folder, replace(weights, class_names=["a", "b", "c"]), {}, "0.1.0")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("all")
    with pytest.raises(UserError, match="notes holds something else"):
        write_shared(tmp_path / "notes", weights, {}, "0.1.0")
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["todo.txt"]


def test_a_full_disk_leaves_nothing(weights: Weights, tmp_path: Path, files_at_most: Callable[[int], Any]) -> None:
    with files_at_most(10_007), pytest.raises(UserError, match=r"mine cannot be written \(File too large\)"):
        write_shared(tmp_path / "mine", weights, {}, "0.1.0")
    assert not any(tmp_path.iterdir())


def changed(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **values}))

    return change


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "has no model.safetensors; was it copied completely?"),
        (lambda folder: (folder / CONFIG).unlink(), "has no config.json"),
        (cut(WEIGHTS), "is a damaged safetensors file"),
        (cut(CONFIG), "config.json is damaged"),
        (changed(format=2, videonl_version="9.9"), "is of format 2, written by videonl 9.9, and this videonl reads 1"),
        (changed(library_name="timm"), "another library's"),
        (changed(class_names=["a", "b"]), "has 3 classes, but 2 names were given"),
        (changed(class_names=[1, 2, 3]), "does not describe a network of videonl"),
        (changed(clip=[5]), "does not describe a network of videonl"),
        (changed(clip={**CLIP, "colour": 1}), "does not describe a network of videonl"),
        (changed(clip={**CLIP, "num_frames": "5"}), "does not describe a network of videonl"),
        (changed(clip={**CLIP, "mean": [0.45, "x", 0.45]}), "does not describe a network of videonl"),
        (changed(network=7), "does not describe a network"),
        (changed(network={"backbone": "c2d_r50"}), "does not describe a network"),
        (changed(network={"backbone": "os.system", "num_classes": 3, "blocks": []}), "add --trust-code"),
    ],
)
def test_what_is_damaged_or_anothers_is_one_line(
    shared: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(shared, folder)
    change(folder)
    with pytest.raises(UserError) as refused:
        load_trained(folder)
    assert message in str(refused.value) and str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_weights_of_another_network_are_refused(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(shared, folder)
    config = json.loads((folder / CONFIG).read_text())
    changed(network={**config["network"], "width": 5})(folder)
    with pytest.raises(UserError, match="its weights do not fit the network that it names"):
        load_trained(folder)


def test_what_is_not_plain_data_is_not_written(weights: Weights, tmp_path: Path) -> None:
    odd = replace(weights, network={**(weights.network or {}), "backbone_options": {"norm": torch.nn.BatchNorm3d}})
    with pytest.raises(UserError, match="described by a type, which is not plain data"):
        write_shared(tmp_path / "mine", odd, {}, "0.1.0")
    assert not any(tmp_path.iterdir())
