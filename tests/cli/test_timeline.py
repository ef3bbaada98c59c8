import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from videonl.data.reading import fetching
from videonl.inference import load
from videonl.runtime.time_limit import TimeLimited


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """Three synthetic clips, one after another."""
    path = tmp_path_factory.mktemp("timeline") / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 38
        stream.pix_fmt = "yuv420p"
        for clip in sorted(clips.rglob("*.mp4"))[:5]:
            with av.open(str(clip)) as source:
                for frame in source.decode(video=0):
                    frame.pts = None
                    container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_every_format_from_one_pass(videonl: Callable[..., Any], trained: Path, video: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"match.{suffix}" for suffix in ("html", "csv", "json", "srt", "vtt", "mp4")]
    words = [word for out in outs for word in ("--out", out)]
    ran = videonl("timeline", *words, video, "--checkpoint", trained, "--stride-seconds", 0.25, "--threshold", 0.1)
    assert ran.code == 0, ran.text
    assert all(str(out) in ran.text for out in outs) and sorted(tmp_path.iterdir()) == sorted(outs)
    found = load(trained).timeline(video, stride_seconds=0.25, progress=False)
    assert f"{len(found)} windows, {len(found.segments(0.1))} segment" in ran.text
    read = json.loads((tmp_path / "match.json").read_text())
    assert [window["probabilities"] for window in read["windows"]] == found.probabilities.tolist()
    with (tmp_path / "match.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [one.label for one in found.segments(0.1)]
    assert os.path.relpath(video, tmp_path) in (tmp_path / "match.html").read_text()


def test_options_reach_the_timeline(videonl: Callable[..., Any], trained: Path, video: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("first\nsecond\n")
    options = ("--num-crops", 3, "--average", "logits", "--min-seconds", 0.3, "--classes", names, "--device", "cpu")
    ran = videonl("timeline", video, "--checkpoint", trained, "--out", tmp_path / "a.json", *options)
    assert ran.code == 0, ran.text
    read = json.loads((tmp_path / "a.json").read_text())
    assert read["class_names"] == ["first", "second"] and read["about"]["windows"] == "every 0.5 s, 3 crops of each"
    assert all(one["end"] - one["start"] >= 0.3 for one in read["segments"])
    expected = load(trained, classes=["first", "second"]).timeline(video, num_crops=3, average="logits", progress=False)
    assert [window["probabilities"] for window in read["windows"]] == expected.probabilities.tolist()


def test_the_page_is_told_to_embed_or_says_what_it_copied(
    videonl: Callable[..., Any], trained: Path, video: Path, tmp_path: Path
) -> None:
    with av.open(str(video)) as source, av.open(str(tmp_path / "a.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    words = ("timeline", tmp_path / "a.mkv", "--checkpoint", trained, "--stride-seconds", 1)
    ran = videonl(*words, "--out", tmp_path / "out" / "a.html")
    assert ran.code == 0 and "a_video.mp4: a small copy that browsers can play" in ran.text
    ran = videonl(*words, "--out", tmp_path / "b.html", "--embed")
    assert ran.code == 0 and "data:video/mp4;base64," in (tmp_path / "b.html").read_text()
    assert not (tmp_path / "b_video.mp4").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.mp4"], r"gone.mp4: no such file"),
        (["sound.mp4"], r"sound.mp4: has no video stream"),
        (["short.mp4"], r"too short for one window"),
        (["long.mp4", "--out", "b.txt"], r"b.txt: give a name that ends in one of .html, .csv"),
        (["long.mp4", "--out", "long.mp4"], r"long.mp4 is an input, and would be overwritten"),
        (["long.mp4", "--out", "a.html"], r"a.html would be written twice"),
        (["long.mp4", "--out", "b.html", "--out", "b_video.mp4"], r"b_video.mp4 would be written twice"),
        (["long.mp4", "--classes", "three.txt"], r"3 .*classes|3 .*names"),
        (["long.mp4", "--threshold", "1.5"], r"--threshold must be at most 1, got 1.5"),
        (["long.mp4", "--min-seconds", "-1"], r"--min-seconds must be at least 0"),
        (["long.mp4", "--stride-seconds", "0"], r"stride_seconds must be at least"),
        (["https://127.0.0.1:9/a.mp4"], r"https://127.0.0.1:9/a.mp4: cannot be fetched"),
        (["rtsp://127.0.0.1:9/a"], r"rtsp://127.0.0.1:9/a is a live stream, which videonl stream reads"),
        (["s3:/bucket/a.mp4"], r"a URL has two slashes. Write s3://bucket/a.mp4"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    videonl: Callable[..., Any],
    trained: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encode_video: Callable[..., Path],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(video, "long.mp4")
    encode_video(Path("short.mp4"), num_frames=3)
    write_sound(Path("sound.mp4"))
    monkeypatch.setattr(fetching, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(TimeLimited, "is_available", staticmethod(lambda: False))  # so that it holds, in this process
    Path("three.txt").write_text("a\nb\nc\n")
    before = sorted(tmp_path.iterdir())
    ran = videonl("timeline", "--checkpoint", trained, "--out", "a.html", *words)
    assert ran.code == 2, ran.text
    assert re.search(message, ran.text), ran.text
    assert "Traceback" not in ran.text and sorted(tmp_path.iterdir()) == before


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for _ in range(5):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.rate = 8000
            frame.planes[0].update(bytes(4096))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_interrupted_it_leaves_nothing_half_written(
    videonl: Callable[..., Any], trained: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_text("older")
    frames = 0

    def interrupted(captions: object, picture: torch.Tensor, seconds: float) -> None:
        nonlocal frames
        frames += 1
        if frames == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr("videonl.visualization.timeline.film._Captions.draw_on", interrupted)
    ran = videonl("timeline", video, "--checkpoint", trained, "--out", tmp_path / "a.mp4", "--stride-seconds", 1)
    assert ran.code == 130 and frames == 7
    assert (tmp_path / "a.mp4").read_text() == "older" and len(list(tmp_path.iterdir())) == 1
