"""Every mistake a user makes gets a message that names it and the remedy, an exit code, and no traceback."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Videonl = Callable[..., object]


@pytest.fixture
def refuse(videonl: Videonl, small_config: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs ``fit`` with more options, sees it refused before anything is written, and returns what it said."""

    def run(*options: object, command: str = "fit") -> str:
        refused = videonl(command, "--config", small_config, "--run.dir", tmp_path / "run", *options)
        assert refused.code == 2
        assert "Traceback" not in refused.text
        assert not (tmp_path / "run").exists()
        return str(refused.text)

    return run


def test_missing_folder(refuse: Callable[..., str], tmp_path: Path) -> None:
    text = refuse("--data.root", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in text
    assert "--data.root" in text


def test_missing_csv(refuse: Callable[..., str], tmp_path: Path) -> None:
    text = refuse("--data.train", tmp_path / "train.csv")
    assert f"{tmp_path / 'train.csv'}: no such folder or list file" in text


def test_empty_class(refuse: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    (tmp_path / "train" / "running").mkdir(parents=True)
    text = refuse("--data.train", tmp_path / "train")
    assert f"{tmp_path / 'train' / 'running'}: no videos in this class folder" in text


def test_line_without_label(refuse: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    video = next((clips / "train").glob("*/*.mp4"))
    (tmp_path / "train.csv").write_text(f"{video} sum_0\n{video}\n")
    text = refuse("--data.train", tmp_path / "train.csv")
    assert f"{tmp_path / 'train.csv'}:2" in text
    assert "label" in text


def test_label_outside_the_classes(refuse: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    video = next((clips / "train").glob("*/*.mp4"))
    (tmp_path / "val.csv").write_text(f"{video} sum_7\n")
    text = refuse("--data.val", tmp_path / "val.csv")
    assert f"{tmp_path / 'val.csv'}:1: label 'sum_7' is not one of the 2 classes (sum_0, sum_1)" in text


def test_data_of_other_classes_than_the_checkpoint(
    videonl: Videonl, trained: Path, clips: Path, tmp_path: Path
) -> None:
    video = next((clips / "train").glob("*/*.mp4"))
    (tmp_path / "other.csv").write_text(f"{video} run\n{video} walk\n")
    sources = [word for name in ("train", "val", "test") for word in (f"--data.{name}", tmp_path / "other.csv")]
    refused = videonl("test", "--config", trained / "config.yaml", *sources)
    assert refused.code == 2
    assert "trained on other classes" in refused.text
    assert "sum_0" in refused.text
    assert "walk" in refused.text


def test_checkpoint_of_another_network(videonl: Videonl, trained: Path) -> None:
    without = ["--model.network.init_args.blocks", "[]"]
    refused = videonl("test", "--config", trained / "config.yaml", *without)
    assert refused.code == 2
    assert "belongs to another network" in refused.text


def test_missing_checkpoint(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert f"{tmp_path / 'no.ckpt'} does not exist" in refuse("--ckpt_path", tmp_path / "no.ckpt", command="test")
    assert "best.ckpt does not exist" in refuse(command="test")


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("[{block: nonlocal, after: {res7: [1]}}]", "unknown stage 'res7' for a block; this backbone has: res2, res3"),
        ("[{block: nonlocal, after: {res3: [4]}}]", "residual 4 of res3 does not exist; res3 has residuals 0 to 0"),
        (
            "[{block: nonlocl, after: {res3: [0]}}]",
            "unknown block 'nonlocl'; the blocks are: asymmetric_fusion, asymmetric_pyramid, axial",
        ),
        ("[{block: nonlocal, after: {res3: [0]}, options: {dim_inner: 0}}]", "dim_inner must be at least 1, got 0"),
        ("[{block: nonlocal, after: {res3: [0]}, options: {heads: 2}}]", "'heads'"),
    ],
)
def test_unknown_place_or_block(refuse: Callable[..., str], blocks: str, expected: str) -> None:
    assert expected in refuse("--model.network.init_args.blocks", blocks)


def test_unknown_backbone(refuse: Callable[..., str]) -> None:
    text = refuse("--model.network.init_args.backbone", "i3d_r49")
    assert "unknown backbone 'i3d_r49'" in text
    assert "i3d_r50" in text


def test_unknown_decoder(refuse: Callable[..., str]) -> None:
    text = refuse("--data.loading.decoder", "ffmpeg")
    assert "unknown decoder 'ffmpeg'" in text
    assert "pyav" in text


def test_unknown_key(refuse: Callable[..., str], small_config: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("data: {trian: train}\n")
    assert "trian" in refuse("--config", wrong)


@pytest.mark.parametrize("value", ["[5, 0]", "40"])
def test_bad_clip_format_quotes_the_value(refuse: Callable[..., str], value: str) -> None:
    assert value.strip("[]") in refuse("--data.clip.crop_px", value)


def test_missing_and_malformed_configs(videonl: Videonl, tmp_path: Path) -> None:
    missing = videonl("fit", "--config", tmp_path / "no.yaml")
    assert missing.code == 2
    assert "no.yaml does not exist" in missing.text
    malformed = tmp_path / "malformed.yaml"
    malformed.write_text("data: [1,\n")
    assert "malformed.yaml is not valid YAML" in videonl("fit", "--config", malformed).text
    circle = tmp_path / "circle.yaml"
    circle.write_text("extends: circle.yaml\n")
    assert "circle.yaml extends itself" in videonl("fit", "--config", circle).text


def test_unknown_command_lists_the_commands(videonl: Videonl) -> None:
    refused = videonl("train")
    assert refused.code == 2
    assert "unknown command 'train'; the commands are: fit, validate, test, predict" in refused.text


@pytest.mark.parametrize(
    ("flags", "words"), [("", "--help"), ("-u", "fit --help")]
)  # when it ends, and where it prints
def test_a_reader_that_has_had_enough_is_no_error(flags: str, words: str) -> None:
    command = [sys.executable, *flags.split(), "-m", "videonl", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()  # before it has written a line
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("command", ["attention", "predict"])
def test_one_video_commands_name_what_is_wrong(videonl: Videonl, trained: Path, tmp_path: Path, command: str) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    text_file = tmp_path / "notes.mp4"
    text_file.write_text("no video\n" * 31)
    refused = videonl(command, "--checkpoint", checkpoint, "--video", text_file)
    assert refused.code == 2
    assert str(text_file) in refused.text
    refused = videonl(command, "--checkpoint", text_file, "--video", text_file)
    assert refused.code == 2
    assert f"{text_file} cannot be read as a checkpoint" in refused.text


def test_training_on_unreadable_videos_alone_stops_and_lists_them(
    videonl: Videonl, small_config: Path, tmp_path: Path
) -> None:
    videos = [tmp_path / f"broken_{number}.mp4" for number in range(5)]
    for video in videos:
        video.write_text("no video\n" * 31)
    (tmp_path / "train.csv").write_text("".join(f"{video},sum_{number % 2}\n" for number, video in enumerate(videos)))
    source = ["--data.train", tmp_path / "train.csv", "--data.val", "null", "--data.loading.num_workers", 1]
    stopped = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", *source)
    assert stopped.code == 2
    assert "Traceback" not in stopped.text
    assert "none of 5 videos in a row can be decoded" in stopped.text
    assert all(str(video) in stopped.text for video in videos)


def test_lightnings_refusals_are_messages_too(videonl: Videonl, small_config: Path, tmp_path: Path) -> None:
    refused = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", "--trainer.accelerator", "abacus")
    assert refused.code != 0
    assert "Traceback" not in refused.text
    assert "abacus" in refused.text


def callback(name: str, options: str) -> list[str]:
    return ["--trainer.callbacks", f"[{{class_path: lightning.pytorch.callbacks.{name}, init_args: {options}}}]"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--trainer.overfit_batches", "2"], "--data.train to a list of a few videos"),
        (["--trainer.max_time", "00:01:00:00", "--trainer.max_epochs", "null"], "known number of steps: set --trainer"),
        (callback("LearningRateFinder", "{}"), "LearningRateFinder is not supported"),
        (callback("BatchSizeFinder", "{}"), "BatchSizeFinder is not supported"),
        (["--trainer.val_check_interval", "100"], "trainer.val_check_interval is 100, but an epoch has 2 batches"),
        (callback("EarlyStopping", "{monitor: val/top5}"), "metric `val/top5` which is not available"),
        (["--trainer.strategy", "ddp_spawn"], "trainer.strategy: ddp_spawn starts its processes from within"),
        (["--trainer.strategy", "ddp_notebook_find_unused_parameters_true"], "for notebooks; use ddp, which starts"),
        (
            ["--trainer.strategy.class_path=DDPStrategy", "--trainer.strategy.init_args.start_method=fork"],
            "trainer.strategy: fork starts its processes from within",
        ),
    ],
    ids=[
        *("overfit_batches", "max_time", "LearningRateFinder", "BatchSizeFinder", "val_check_interval"),
        *("EarlyStopping", "ddp_spawn", "ddp_notebook", "DDPStrategy"),
    ],
)
def test_what_the_trainer_cannot_do_is_a_message(
    videonl: Videonl, small_config: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    refused = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", *options)
    assert refused.code == 2
    assert told in refused.text
    assert "Traceback" not in refused.text


def test_one_class(videonl: Videonl, small_config: Path, clips: Path, tmp_path: Path) -> None:
    videos = [f"{video},sum_1\n" for video in sorted(clips.glob("train/sum_1/*"))]
    (tmp_path / "train.csv").write_text("".join(videos))
    source = ["--data.train", tmp_path / "train.csv", "--data.val", "null", "--data.test", "null"]
    refused = videonl("fit", "--config", small_config, "--run.dir", tmp_path / "run", *source)
    assert refused.code == 2
    assert "there is only one class, sum_1" in refused.text


def test_validation_of_nothing(videonl: Videonl, small_config: Path, trained: Path) -> None:
    words = ["--config", small_config, "--data.val", "null", "--run.dir", trained]
    refused = videonl("validate", *words)
    assert refused.code == 2
    assert "no val videos were given. Set --data.val" in refused.text


def test_video_of_one_frame_works(
    videonl: Videonl, trained: Path, encode_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = encode_video(tmp_path / "one.mp4", num_frames=1)
    predicted = videonl("predict", "--checkpoint", trained / "checkpoints" / "best.ckpt", "--video", video)
    assert predicted.code == 0
    assert "sum_0" in predicted.text


def test_video_on_a_network_whose_norms_have_no_innermost_channels(
    videonl: Videonl, with_blocks: Callable[..., Path], clips: Path
) -> None:
    checkpoint = with_blocks("gc", {"block": "gc", "after": {"res3": [0]}})
    video = next((clips / "test").glob("*/*.mp4"))
    assert videonl("predict", "--checkpoint", checkpoint, "--video", video).code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["[0.8, 0.2]"], "cycle_ends must ascend, above 0 and below 1, got [0.8, 0.2]"),
        (["[0.5]", "--data.multigrid.rate_power", "2"], "rate_power must be at most 1, got 2"),
        (["[0.5]", "--data.multigrid.short_cycle", "[0]"], "short_cycle must have fractions above 0"),
        (["[0.5]", "--trainer.max_epochs", "-1"], "data.multigrid needs a known number of steps"),
        (
            [
                *("[0.5]", "--model.network.init_args.backbone", "i3d_r50"),
                *("--model.network.init_args.backbone_options", "{}"),
            ],
            "data.multigrid has clips of 1 x 31 x 31, but num_frames must be at least",
        ),
    ],
)
def test_multigrid_that_cannot_be_trained(refuse: Callable[..., str], options: list[str], message: str) -> None:
    assert message in refuse("--data.multigrid.cycle_ends", *options)
