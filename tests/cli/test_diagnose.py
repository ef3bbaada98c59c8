"""``videonl diagnose`` on real files, from the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from videonl.cli.diagnose import spread_out
from videonl.data.video import Video

Videonl = Callable[..., Any]


@pytest.fixture
def options(trained: Path, clips: Path, tmp_path: Path) -> list[object]:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    return [
        *("--checkpoint", checkpoint, "--source", clips / "test", "--num_workers", 0, "--num_queries", 13),
        *("--out", tmp_path / "out"),
    ]


def changed(checkpoint: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def first_json(text: str) -> Any:
    """The result; a warning that an option is given twice follows it."""
    return json.JSONDecoder().raw_decode(text)[0]


def test_tables_a_reading_and_files(videonl: Videonl, options: list[object], tmp_path: Path) -> None:
    done = videonl("diagnose", *options)
    assert done.code == 0
    for words in ("where blocks attend", "accuracy without blocks: 11 clips", "weight on the cue", "res3.0 "):
        assert words in done.text
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {f"diagnosis.{kind}" for kind in ("json", "csv", "png", "html")}
    Image.open(out / "diagnosis.png").verify()
    report = json.loads((out / "diagnosis.json").read_text())
    assert report["about"].keys() >= {"videos", "date", "backbone", "blocks"}
    (block,) = report["blocks"]
    assert (block["block"], block["kind"]) == ("res3.0", "nonlocal, embedded_gaussian")
    assert sum(block[part] for part in ("itself", "own_frame", "own_place", "elsewhere")) == pytest.approx(1)
    assert {row["clips_with"]: row["num_clips"] for row in block["cue"]}["all"] == 11
    with (out / "diagnosis.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["entropy"]) == block["entropy"]
    page = (out / "diagnosis.html").read_text()
    assert "<script" not in page and "http" not in page
    assert all(finding["text"].replace("'", "&#39;") in page for finding in block["reading"])


def test_json_is_the_file_and_the_accuracy_that_of_an_evaluation_with_one_view(
    videonl: Videonl, options: list[object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = videonl("diagnose", *options, "--json")
    report = json.loads(done.text)
    assert report == json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    words = [*options[:6], "--num_clips", 1, "--num_crops", 1, "--out", tmp_path / "evaluation"]
    evaluated = videonl("evaluate", *words)
    assert f"top-1 │ {100 * report['top1']:.2f} %" in evaluated.text


def test_workers_give_the_same(videonl: Videonl, options: list[object], tmp_path: Path) -> None:
    alone = json.loads(videonl("diagnose", *options, "--json").text)
    helped = first_json(videonl("diagnose", *options, "--json", "--num_workers", 2).text)
    assert helped == alone


def test_a_zeroed_block_has_no_effect(videonl: Videonl, trained: Path, options: list[object], tmp_path: Path) -> None:
    def zero(content: dict[str, Any]) -> None:
        for key, value in content["state_dict"].items():
            if "block.norm." in key and value.is_floating_point() and "running" not in key:
                value.zero_()

    checkpoint = changed(trained / "checkpoints" / "best.ckpt", tmp_path / "zero.ckpt", zero)
    report = first_json(videonl("diagnose", *options, "--checkpoint", checkpoint, "--json").text)
    (block,) = report["blocks"]
    assert (block["gain"], block["contribution"], block["top1_lost"], block["answers_changed"]) == (0, 0, 0, 0)
    assert block["reading"][0]["kind"] == "no_effect"
    assert report["all_off"]["top1_without"] == report["top1"]


def test_unreadable_videos_are_named(videonl: Videonl, options: list[object], clips: Path, tmp_path: Path) -> None:
    good = next((clips / "test").glob("*/*.mp4"))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.csv").write_text(f"{tmp_path / 'empty.mp4'},sum_0\n{good},{good.parent.name}\n")
    done = videonl("diagnose", *options, "--source", tmp_path / "list.csv")
    assert done.code == 0
    assert f"skipped {tmp_path / 'empty.mp4'}: the file is empty" in done.text
    report = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert (report["num_clips"], list(report["unreadable"])) == (1, [str(tmp_path / "empty.mp4")])
    (tmp_path / "list.csv").write_text(f"{tmp_path / 'empty.mp4'},sum_0\n")
    refused = videonl("diagnose", *options, "--source", tmp_path / "list.csv")
    assert refused.code == 2 and "none of the 1 videos could be read" in refused.text


def test_a_network_without_blocks_is_sent_elsewhere(
    videonl: Videonl, trained: Path, options: list[object], tmp_path: Path
) -> None:
    def drop(content: dict[str, Any]) -> None:
        content["videonl"]["network"]["blocks"] = []
        content["state_dict"] = {key: value for key, value in content["state_dict"].items() if ".block." not in key}

    checkpoint = changed(trained / "checkpoints" / "best.ckpt", tmp_path / "plain.ckpt", drop)
    refused = videonl("diagnose", *options, "--checkpoint", checkpoint)
    assert refused.code == 2
    assert "has no attention blocks" in refused.text and "videonl attention --evidence" in refused.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--num_clips", 0], "--num_clips must be at least 1"),
        (["--num_queries", 1], "--num_queries must be at least 2, got 1"),
        (["--device", "abacus"], "device 'abacus' is not available"),
        (["--decoder", "eyes"], "unknown decoder 'eyes'"),
        (["--source", "nowhere"], "nowhere: no such folder"),
        (["--checkpoint", "nothing.ckpt"], "checkpoint nothing.ckpt does not exist"),
    ],
)
def test_mistakes_are_explained(
    videonl: Videonl, options: list[object], tmp_path: Path, words: list[object], told: str
) -> None:
    refused = videonl("diagnose", *options, *words)
    assert refused.code == 2
    assert told in refused.text
    assert not (tmp_path / "out").exists()


def test_clips_are_spread_over_the_list_and_each_file_comes_once() -> None:
    videos = [Video(Path(f"{number}.mp4"), number % 2) for number in range(10)]
    assert [video.path.stem for video in spread_out([*videos, videos[3]], 4)] == ["0", "2", "5", "7"]
    assert spread_out(videos, 99) == videos
