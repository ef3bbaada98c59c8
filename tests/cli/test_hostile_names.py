"""Names of files, classes, runs and values that hold terminal escape sequences are printed as text by every command."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from videonl.cli.parsing import Parser

Videonl = Callable[..., tuple[int, str]]
EVIL = "run\x1b[2J\x1b]52;c;aGk=\x9b31m"
ESCAPED = r"run\x1b[2J\x1b]52;c;aGk=\x9b31m"


@pytest.fixture
def said(videonl: Videonl) -> Callable[..., str]:
    """Runs a command, sees that it ends with a code and prints nothing but text, and returns that."""

    def run(code: int, *words: object) -> str:
        ended, text = videonl(*words)
        assert ended == code, text
        assert not set("\x1b\x9b") & set(text)
        return text

    return run


@pytest.fixture
def source(clips: Path, tmp_path: Path) -> Path:
    """Two classes of two videos each, of hostile names."""
    videos = sorted((clips / "train").glob("*/*.mp4"))
    for number, name in enumerate((EVIL, EVIL, "walk", "walk")):
        (tmp_path / "source" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(videos[number], tmp_path / "source" / name / f"{number}{EVIL}.mp4")
    return tmp_path / "source"


def test_what_is_known_of_data(said: Callable[..., str], source: Path, tmp_path: Path) -> None:
    index = tmp_path / f"{EVIL}.parquet"
    (source / "walk" / f"broken{EVIL}.mp4").write_bytes(b"nothing")
    assert ESCAPED in said(0, "index", source, "-o", index, "--num-workers", 1)
    assert ESCAPED in said(0, "doctor", index)
    said(0, "prepare", index, tmp_path / f"prepared{EVIL}", "--num-workers", 1)


def test_what_a_network_says(said: Callable[..., str], trained: Path, source: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    content["videonl"]["class_names"] = [EVIL, "walk"]
    checkpoint = tmp_path / f"{EVIL}.ckpt"
    torch.save(content, checkpoint)
    video = next(source.glob("*/*.mp4"))
    views = ["--num-clips", 1, "--num-crops", 1]
    assert ESCAPED in said(0, "predict", "--checkpoint", checkpoint, "--video", video, *views)
    out = tmp_path / f"out{EVIL}"
    said(0, "evaluate", "--checkpoint", checkpoint, "--source", source, "--out", out, "--num-workers", 0)
    assert ESCAPED in said(0, "attention", "--checkpoint", checkpoint, "--video", video, "--out", out)


def test_what_a_run_says(said: Callable[..., str], small_config: Path, source: Path, tmp_path: Path) -> None:
    words = ["--config", small_config, "--run.dir", tmp_path / EVIL]
    data = [word for name in ("train", "val", "test") for word in (f"--data.{name}", source)]
    said(0, "fit", *words, *data)
    said(0, "test", *words, *data)


def test_mistakes(said: Callable[..., str], small_config: Path, tmp_path: Path) -> None:
    assert ESCAPED in said(2, "predict", "--checkpoint", f"{EVIL}.ckpt", "--video", "a.mp4")
    assert ESCAPED in said(2, "fit", "--config", small_config, "--data.root", tmp_path / EVIL)
    (tmp_path / "evil.yaml").write_text(f'extends: {small_config}\nmodel: {{"r\\e[2Jun": "\\e[2J"}}\n')
    assert r"\x1b[2J" in said(2, "summary", "--config", tmp_path / "evil.yaml")
    said(2, EVIL)
    said(2, "doctor", tmp_path / "none", f"--{EVIL}")
    said(2, "convert", EVIL, "--from", EVIL, "--out", "x")
    said(2, "summary", "--num-classes", EVIL)


@pytest.mark.parametrize(
    "word",
    ["caf\udce9", "\udce9: [x] #1", '["\udce9"]', "\U0001f3be", "\x7f\x85\u2028", "[x]", '["x"]', "007", "a\nb", ""],
)
def test_words_of_a_list_are_taken_as_they_are_written(word: str) -> None:
    parser = Parser()
    parser.add_argument("--evidence", type=list[str])
    assert parser.parse_args(["--evidence", word, "serve"]).evidence == [word, "serve"]
