"""share, from the command line: a run's folder to give away, and every command that takes it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import videonl as package
from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, VideoScore, read_record, write_record
from videonl.models import ClipClassifier
from videonl.models.weights import Weights

Videonl = Callable[..., Any]
CLIP = {"num_frames": 5, "stride_frames": 2, "mean": (0.45,) * 3, "std": (0.225,) * 3}


@pytest.fixture(scope="module")
def tested(trained: Path) -> Path:
    """A run with an evaluation of its best checkpoint."""
    from videonl.cli.main import main

    assert main(["test", "--config", str(trained / "config.yaml")]) == 0
    return trained


@pytest.fixture
def shared(videonl: Videonl, tested: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    done = videonl("share", tested, "--out", folder, "--license", "cc-by-nc-4.0")
    assert done.code == 0, done.text
    assert f"{folder}: README.md, config.json, evaluation.json, model.safetensors" in done.text
    return folder


def front_and_text(folder: Path) -> tuple[dict[str, Any], str]:
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_card_has_the_figures_and_no_place_of_this_machine(
    tested: Path, shared: Path, clips: Path, tmp_path: Path
) -> None:
    front, text = front_and_text(shared)
    assert front["license"] == "cc-by-nc-4.0"
    assert (front["library_name"], front["pipeline_tag"]) == ("videonl", "video-classification")
    (results,) = front["model-index"][0]["results"]
    figures = json.loads((shared / "evaluation.json").read_text())
    record = read_record(tested / "test.parquet")
    right = sum(int(score.probabilities.argmax()) == score.label for score in record.scores)
    assert figures["accuracies"]["top1"]["value"] == right / 11
    low, high = figures["accuracies"]["top1"]["interval"]
    assert 0 <= low <= right / 11 <= high <= 1
    assert (figures["num_videos"], figures["views"]) == (11, "2 clips x 3 crops of 31 px")
    assert figures["date"] == record.about["date"] and figures["videos"] == "test (root synthetic)"
    assert results["metrics"][0]["value"] == round(100 * right / 11, 2)
    assert f"| top-1 | {100 * right / 11:.2f} | {100 * low:.2f} to {100 * high:.2f} |" in text
    assert "Sources of the run: train `train`, val `val`, test `test`, in `synthetic`." in text
    assert "epochs 1" in text and "sum_0" not in text.partition("## Classes")[0]
    assert "nonlocal, embedded gaussian after res3.0" in text
    everything = "".join((shared / name).read_text() for name in ("README.md", "config.json", "evaluation.json"))
    for place in (tested, clips, tmp_path, Path.home()):
        assert str(place) not in everything


def test_the_lines_of_the_card_run_and_give_the_same_logits_to_the_bit(
    tested: Path, shared: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", front_and_text(shared)[1], re.DOTALL)
    monkeypatch.chdir(shared.parent)
    video = next((clips / "test").glob("*/*.mp4"))
    names: dict[str, Any] = {}
    exec(code.replace("clip.mp4", str(video)), names)
    assert "%" in capfd.readouterr().out
    original, found = package.load(tested).predict(str(video)), names["model"].predict(str(video))
    assert torch.equal(torch.as_tensor(original.logits), torch.as_tensor(found.logits))


def test_every_command_takes_the_folder_and_the_run(
    videonl: Videonl, tested: Path, shared: Path, clips: Path, tmp_path: Path
) -> None:
    video, test = next((clips / "test").glob("*/*.mp4")), clips / "test"
    views = ["--num_clips", 1, "--num_crops", 1, "--num_workers", 0]
    for name, source in (("run", tested), ("shared", shared)):
        out = tmp_path / name
        for words in (
            ["evaluate", "--checkpoint", source, "--source", test, "--out", out, *views],
            ["attention", "--checkpoint", source, "--video", video, "--out", out, "--film", "none"],
            ["predict", video, "--checkpoint", source, *views],
            ["summary", "--checkpoint", source],
            ["convert", source, "--from", "videonl", "--clip", "5x2", "--out", out / "converted.pt"],
        ):
            done = videonl(*words)
            assert done.code == 0, (words, done.text)
    first, second = (read_record(tmp_path / name / "evaluation.parquet") for name in ("run", "shared"))
    for one, other in zip(first.scores, second.scores, strict=True):
        assert torch.equal(one.logits, other.logits)
    refused = videonl("export", "--checkpoint", shared, "--format", "onnx", "--out", shared / "model.safetensors")
    assert refused.code == 2 and "is an input, and would be overwritten" in refused.text


def test_an_evaluation_of_other_weights_is_left_out_or_refused(videonl: Videonl, tested: Path, tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    content = torch.load(tested / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**content, "epoch": 7}, last)
    (tmp_path / "run" / "test.parquet").write_bytes((tested / "test.parquet").read_bytes())
    done = videonl("share", last, "--out", tmp_path / "shared")
    assert done.code == 0, done.text
    assert "test.parquet is of other weights, those of best.ckpt; its figures are left out" in done.text
    assert "its card states no license" in done.text
    assert not (tmp_path / "shared" / "evaluation.json").exists()
    words = ["share", last, "--out", tmp_path / "again", "--evaluation"]
    assert "is of other weights" in videonl(*words, tested / "test.parquet").text
    scores = [VideoScore(0, "a.mp4", 0, torch.tensor([[1.0, 0.0]]), ((0, 0),), "softmax")]
    write_record(tmp_path / "other.parquet", EvaluationRecord(["a", "b"], scores))
    refused = videonl(*words, tmp_path / "other.parquet")
    assert refused.code == 2 and "is of another network: it has 2 classes, named otherwise" in refused.text
    assert not (tmp_path / "again").exists()


def test_parts_of_ones_own_need_trust_in_share_and_in_load(
    videonl: Videonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_shared_networks.py").write_text(
        "from torchvision.models.video import r3d_18\n\n\ndef mine(num_classes):\n"
        "    return r3d_18(weights=None, num_classes=num_classes)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    network = ClipClassifier("my_shared_networks.mine", 3)
    Weights(network.network.state_dict(), "x", network.settings, clip=CLIP).save(tmp_path / "own.pt")
    words = ["share", tmp_path / "own.pt", "--out", tmp_path / "shared"]
    refused = videonl(*words)
    assert refused.code == 2 and "add --trust-code" in refused.text
    assert not (tmp_path / "shared").exists()
    assert videonl(*words, "--trust-code").code == 0
    assert 'videonl.load("shared", trust_code=True)' in front_and_text(tmp_path / "shared")[1]
    with pytest.raises(UserError, match=r"builds its network with my_shared_networks\.mine"):
        package.load(tmp_path / "shared")
    assert len(package.load(tmp_path / "shared", trust_code=True).class_names) == 3


def test_inputs_and_other_content_are_kept(videonl: Videonl, tested: Path, shared: Path) -> None:
    before = sorted(path.name for path in tested.iterdir())
    refused = videonl("share", tested, "--out", tested)
    assert refused.code == 2 and "is an input, and would be overwritten" in refused.text
    (shared / "config.json").write_text("{}")
    refused = videonl("share", tested, "--out", shared)
    assert refused.code == 2 and "holds something else, which would be lost" in refused.text
    assert sorted(path.name for path in tested.iterdir()) == before
    refused = videonl("share", tested / "config.yaml", "--out", shared.parent / "new")
    assert refused.code == 2 and "Traceback" not in refused.text
    refused = videonl("share", tested, "--out", shared.parent / "new", "--license", "Apache 2")
    assert refused.code == 2 and "is not a license identifier" in refused.text
    assert not (shared.parent / "new").exists()
