"""convert, training from weights, and export, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from videonl.evaluation import read_record
from videonl.models import ClipClassifier, Insertion
from videonl.models.checkpoints import load_trained
from videonl.models.weights import Weights

Videonl = Callable[..., object]
BLOCK_KEY = "network.network.{}.block.theta.weight"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of pytorchvideo's for five classes, of the backbone that the demo trains."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("public") / "C2D.pyth"
    torch.save({"model_state": ClipClassifier("c2d_r50", 5, width=3).network.state_dict()}, path)
    return path


@pytest.fixture
def converted(videonl: Videonl, public: Path, tmp_path: Path) -> Path:
    path = tmp_path / "weights" / "c2d.pt"
    assert videonl("convert", public, "--from", "pytorchvideo", "--out", path, "--clip", "5x1").code == 0
    return path


def trained_state(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_convert_says_what_it_found(videonl: Videonl, public: Path, tmp_path: Path) -> None:
    done = videonl("convert", public, "--from=pytorchvideo", "--out", tmp_path / "c2d.pt", "--clip", "8x8")
    assert done.code == 0
    assert "weights converted, none left over" in done.text
    assert "network: c2d_r50, {'width': 3" in done.text
    assert "classes: 5, without names; name them with --classes FILE" in done.text
    assert "head: averages the logits of windows of 7 x 7 cells" in done.text
    assert "clips: 8 frames x stride 8, short side 256 px, crop 224 px" in done.text
    assert torch.load(tmp_path / "c2d.pt", weights_only=True)["videonl_weights"]["clip"]["stride_frames"] == 8


def test_convert_names_the_classes_that_are_known_by_their_layout(videonl: Videonl, tmp_path: Path) -> None:
    state = ClipClassifier("c2d_r50", 400, width=3).network.state_dict()
    torch.save(state, tmp_path / "net.pyth")
    words = ["convert", tmp_path / "net.pyth", "--from", "pytorchvideo", "--out", tmp_path / "net.pt"]
    done = videonl(*words)
    assert "classes: 400, abseiling to zumba: those of kinetics400, as published for this network" in done.text
    assert load_trained(tmp_path / "net.pt").class_names[246] == "playing tennis"
    (tmp_path / "own.txt").write_text("".join(f"own {index}\n" for index in range(400)))
    done = videonl(*words, "--classes", tmp_path / "own.txt")
    assert "classes: 400, own 0 to own 399 " in f"{done.text} "
    assert "kinetics400" not in done.text
    assert load_trained(tmp_path / "net.pt").class_names[399] == "own 399"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--from", "mmaction2"], "the file's names are those of pytorchvideo: --from pytorchvideo"),
        (
            ["--from", "pytorchvideo", "--strides", "2"],
            "--strides must be two positive whole numbers such as 2,2, got '2'",
        ),
        (["--from", "pytorchvideo", "--clip", "8"], "--clip must be two positive whole numbers such as 32x2, got '8'"),
        (["--from", "keras"], "keras"),
        ([], "--from"),
    ],
)
def test_convert_refuses_and_writes_nothing(
    videonl: Videonl, public: Path, tmp_path: Path, words: list[str], expected: str
) -> None:
    refused = videonl("convert", public, *words, "--out", tmp_path / "out" / "c2d.pt")
    assert refused.code == 2
    assert expected in refused.text
    assert "Traceback" not in refused.text
    assert not (tmp_path / "out").exists()


def test_training_starts_from_weights(
    videonl: Videonl, converted: Path, public: Path, c2d_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    frozen = ["--model.optimization.lr", "1e-30", "--model.optimization.weight_decay", "0"]
    pixels = ["--data.clip.mean", "[0.45,0.45,0.45]", "--data.clip.std", "[0.225,0.225,0.225]"]
    done = videonl("fit", "--config", c2d_config, "--run.dir", run, "--model.weights", converted, *frozen, *pixels)
    assert done.code == 0, done.text
    assert "the head is newly initialized, for 2 classes" in done.text
    assert "are newly initialized as the identity: res3.3" in done.text
    state, given = trained_state(run), torch.load(public, weights_only=True)["model_state"]
    assert torch.equal(state["network.network.blocks.0.conv.weight"], given["blocks.0.conv.weight"])
    assert BLOCK_KEY.format("blocks.3.res_blocks.3") in state
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["weights"] == str(converted)
    # Neither resuming nor evaluating goes back to them.
    converted.unlink()
    options = ["--config", run / "config.yaml", "--trainer.max_epochs", 2, "--ckpt_path", "last"]
    assert videonl("fit", *options).code == 0
    assert videonl("test", "--config", run / "config.yaml").code == 0


def test_training_goes_on_from_an_earlier_run(
    videonl: Videonl, trained: Path, small_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    frozen = ["--model.optimization.lr", "1e-30", "--model.optimization.weight_decay", "0"]
    best = trained / "checkpoints" / "last.ckpt"
    done = videonl("fit", "--config", small_config, "--run.dir", run, "--model.weights", best, *frozen)
    assert done.code == 0, done.text
    assert "the head is newly initialized" not in done.text
    key = BLOCK_KEY.format("layer2.0")
    assert torch.equal(trained_state(run)[key], trained_state(trained)[key])


def test_weights_that_do_not_fit_stop_the_training(
    videonl: Videonl, converted: Path, c2d_config: Path, tmp_path: Path
) -> None:
    start = ["fit", "--config", c2d_config, "--run.dir", tmp_path / "run", "--model.weights"]
    assert "no/such.pt is neither a file nor a known name" in videonl(*start, "no/such.pt").text
    refused = videonl(*start, converted, "--data.clip.mean", "[0.5,0.5,0.5]")
    assert refused.code == 2
    assert "set in data.clip {mean: [0.45, 0.45, 0.45]" in refused.text
    stem = videonl(
        *start,
        converted,
        "--model.network.init_args.backbone_options",
        "{stride_profile: long}",
        "--data.clip.num_frames",
        17,
    )
    assert stem.code == 2
    assert "trained with another stem" in stem.text


def test_converted_weights_predict(videonl: Videonl, converted: Path, clips: Path) -> None:
    video = next((clips / "test").glob("*/*.mp4"))
    done = videonl("predict", "--video", video, "--checkpoint", converted, "--num_clips", 1, "--num_crops", 1)
    assert done.code == 0, done.text
    assert "class 4" in done.text
    assert "the checkpoint does not name its classes; --classes FILE does" in done.text


@pytest.fixture
def without_clip(tmp_path: Path) -> Path:
    """A file of an earlier version, converted without ``--clip``."""
    network = ClipClassifier("c2d_r50", 5, [Insertion("gc", {"res4": [1]}, {})], width=3)
    clip = {"mean": (0.45,) * 3, "std": (0.225,) * 3}
    Weights(network.network.state_dict(), "x", network.settings, clip=clip).save(tmp_path / "old.pt")
    return tmp_path / "old.pt"


@pytest.mark.parametrize("command", ["predict", "evaluate", "attention", "export", "diagnose"])
def test_without_a_clip_nothing_is_computed(
    videonl: Videonl, without_clip: Path, clips: Path, tmp_path: Path, command: str
) -> None:
    video, out = next((clips / "test").glob("*/*.mp4")), tmp_path / "out"
    options = {
        "predict": ["--video", video],
        "evaluate": ["--source", clips / "test", "--out", out],
        "attention": ["--video", video, "--out", out],
        "export": ["--format", "torch-export", "--out", out, "--num_frames", 4, "--size_px", 37],
        "diagnose": ["--source", clips / "test", "--out", out],
    }
    refused = videonl(command, "--checkpoint", without_clip, *options[command])
    assert refused.code == 2, refused.text
    line = f"videonl convert {without_clip} --from videonl --clip 32x2 --out NEW_FILE"
    assert "does not record the clip format of its training (num_frames, stride_frames)" in refused.text
    assert line in refused.text
    assert not out.exists()


def test_summary_of_weights_without_a_clip(videonl: Videonl, without_clip: Path, converted: Path) -> None:
    told = videonl("summary", "--checkpoint", without_clip)
    assert told.code == 0, told.text
    assert "clips of 8 x 224 x 224" in told.text and "these are assumed" in told.text
    known = videonl("summary", "--checkpoint", converted)
    assert "clips of 5 x 224 x 224" in known.text and "assumed" not in known.text


def test_names_and_clips_are_given_later(videonl: Videonl, without_clip: Path, clips: Path, tmp_path: Path) -> None:
    names, new = tmp_path / "names.txt", tmp_path / "new.pt"
    names.write_text("serve\nsmash\nlob\nvolley\nace\n")
    mended = ["convert", without_clip, "--from", "videonl", "--clip", "5x1", "--classes", names, "--out", new]
    done = videonl(*mended)
    assert done.code == 0, done.text
    assert "classes: 5, serve to ace" in done.text
    assert "clips: 5 frames x stride 1" in done.text
    video = next((clips / "test").glob("*/*.mp4"))
    told = videonl("predict", "--video", video, "--checkpoint", new, "--num_clips", 1, "--num_crops", 1)
    assert all(name in told.text for name in ("serve", "smash", "lob", "volley", "ace"))
    assert "does not name its classes" not in told.text


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("kinetics400", "has 5 classes, but 400 names were given"),
        ("kinetics500", "kinetics500 is neither a file nor a published list"),
    ],
)
def test_names_of_other_classes_are_refused(
    videonl: Videonl, public: Path, tmp_path: Path, classes: str, message: str
) -> None:
    out = tmp_path / "c2d.pt"
    refused = videonl("convert", public, "--from", "pytorchvideo", "--classes", classes, "--out", out)
    assert refused.code == 2
    assert message in refused.text
    assert not out.exists()


def test_numeric_labels_are_indices_of_converted_weights(
    videonl: Videonl, converted: Path, clips: Path, tmp_path: Path
) -> None:
    videos = sorted((clips / "test").glob("*/*.mp4"))[:2]
    (tmp_path / "list.csv").write_text(f"{videos[0]},4\n{videos[1]},0\n")
    views = ["--num_clips", 1, "--num_crops", 1, "--num_workers", 0, "--out", tmp_path / "out"]
    done = videonl("evaluate", "--checkpoint", converted, "--source", tmp_path / "list.csv", *views)
    assert done.code == 0, done.text
    record = read_record(tmp_path / "out" / "evaluation.parquet")
    assert [score.label for score in record.scores] == [4, 0]


def test_export_of_a_trained_network(videonl: Videonl, trained: Path, tmp_path: Path) -> None:
    program = tmp_path / "network.pt2"
    checkpoint = trained / "checkpoints" / "best.ckpt"
    done = videonl("export", "--checkpoint", checkpoint, "--format", "torch-export", "--out", program)
    assert done.code == 0, done.text
    assert "largest difference from the network" in done.text
    about = json.loads((tmp_path / "network.pt2.json").read_text())
    assert about["class_names"] == ["sum_0", "sum_1"]
    assert about["clip"]["crop_px"] == 31
    assert torch.export.load(program).module()(torch.randn(3, 3, 5, 31, 31)).shape == (3, 2)


def test_a_refused_export_names_the_saturated_block_and_what_to_change(
    videonl: Videonl, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    for key, value in checkpoint["state_dict"].items():
        if key.endswith(("block.theta.weight", "block.phi.weight")):
            value.mul_(1e4)
    torch.save(checkpoint, tmp_path / "saturated.ckpt")
    words = ["--checkpoint", tmp_path / "saturated.ckpt", "--format", "torch-export", "--out", tmp_path / "network.pt2"]
    monkeypatch.setattr("videonl.models.export._relative", lambda found, expected: 1e-3)
    programs: list[torch.export.ExportedProgram] = []  # of both commands, which export the same network
    export = torch.export.export
    once = lambda *given, **how: programs[0] if programs else programs.append(export(*given, **how)) or programs[0]  # noqa: E731  # short
    monkeypatch.setattr(torch.export, "export", once)
    refused = videonl("export", *words)
    assert refused.code == 2
    for told in ("differs from the network by 1.0e-03", "raise --tolerance", "Block res3.0 has a saturated softmax"):
        assert told in refused.text
    assert "affinity_factor: 0.1" in refused.text and not (tmp_path / "network.pt2").exists()
    assert videonl("export", *words, "--tolerance", 0.01).code == 0
    assert (tmp_path / "network.pt2").is_file()


def test_export_takes_sizes_and_refuses_impossible_ones(videonl: Videonl, shallow: Path, tmp_path: Path) -> None:
    command = ["export", "--checkpoint", shallow, "--format", "torch-export", "--out", tmp_path / "program.pt2"]
    assert videonl(*command, "--num_frames", 4, "--size_px", 37, "--batch_size", 2).code == 0
    program = torch.export.load(tmp_path / "program.pt2").module()
    assert program(torch.randn(2, 3, 4, 37, 37)).shape == (2, 2)
    with pytest.raises((AssertionError, RuntimeError)):
        program(torch.randn(3, 3, 4, 37, 37))
    assert "--size_px must be at least 1, got 0" in videonl(*command, "--size_px", 0).text


def test_weights_without_a_classifier_are_not_exported(videonl: Videonl, tmp_path: Path) -> None:
    network = ClipClassifier("c2d_r50", 5, width=3)
    state = {key: value for key, value in network.network.state_dict().items() if "proj" not in key}
    Weights(state, "x", {**network.settings, "num_classes": None}).save(tmp_path / "trunk.pt")
    refused = videonl("export", "--checkpoint", tmp_path / "trunk.pt", "--format", "onnx", "--out", tmp_path / "a.onnx")
    assert refused.code == 2
    assert "has no classifier" in refused.text
