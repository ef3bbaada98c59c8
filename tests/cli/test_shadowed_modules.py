"""No command, and no process that one starts, runs Python files of the folder that it is called in."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Modules of the standard library that everything here needs, and whose names people give to their own files.
SHADOWED = (
    *("random", "queue", "http", "socket", "selectors", "subprocess", "signal", "threading", "tempfile", "shutil"),
    *("json", "csv", "logging", "copy", "pickle", "struct", "hashlib", "email", "urllib", "decimal"),
)
SCRIPT = Path(sys.executable).with_name("videonl")  # as it is installed
STARTS = {"script": [str(SCRIPT)], "-m": [sys.executable, "-m", "videonl"]}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Runs ``run("script", "fit", ...)`` in a folder of such files, and sees that it ends well and ran none of them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in SHADOWED:
        note = f"open({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\nraise SystemExit('{name}')\n"
        (folder / f"{name}.py").write_text(note)

    def start(how: str, *words: object) -> None:
        command = [*(STARTS.get(how) or [sys.executable, str(tmp_path / how)]), *map(str, words)]
        threads = os.environ | {"OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            command, cwd=folder, env=threads, capture_output=True, text=True, timeout=600, check=False
        )
        ran = (tmp_path / "RAN").read_text() if (tmp_path / "RAN").exists() else ""
        assert (ended.returncode, ran) == (0, ""), ended.stderr

    return start


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", STARTS)
def test_files_are_examined_and_encoded(run: Callable[..., None], clips: Path, tmp_path: Path, how: str) -> None:
    run(how, "index", clips / "val", "-o", tmp_path / "index.parquet", "--num-workers", 1)
    run(how, "doctor", tmp_path / "index.parquet")
    run(how, "prepare", tmp_path / "index.parquet", tmp_path / "prepared", "--num-workers", 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", STARTS)
@pytest.mark.parametrize("processes", [1, 2])
def test_networks_are_trained_and_tested(
    run: Callable[..., None], small_config: Path, tmp_path: Path, how: str, processes: int
) -> None:
    words = ["--config", small_config, "--run.dir", tmp_path / "run", "--data.loading.num_workers", 1]
    words += ["--trainer.devices", processes, *(["--trainer.strategy", "ddp"] if processes > 1 else [])]
    for command in ("fit", "validate", "test", "predict"):
        run(how, command, *words)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_networks_are_used(run: Callable[..., None], trained: Path, clips: Path, tmp_path: Path) -> None:
    video, checkpoint = next(clips.glob("test/*/*.mp4")), ["--checkpoint", trained / "checkpoints" / "best.ckpt"]
    run("script", "evaluate", *checkpoint, "--source", clips / "test", "--out", tmp_path / "out", "--num-workers", 1)
    run(
        "script",
        "diagnose",
        *checkpoint,
        "--source",
        clips / "test",
        "--num_clips",
        2,
        "--num-workers",
        1,
        "--out",
        tmp_path / "d",
    )
    run("script", "predict", *checkpoint, "--video", video)
    run("script", "attention", *checkpoint, "--video", video, "--out", tmp_path / "attention")
    run("script", "export", *checkpoint, "--format", "torch-export", "--out", tmp_path / "network.pt2")
    run("script", "summary", *checkpoint)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_benchmarks(run: Callable[..., None], encode_video: Callable[..., Path], tmp_path: Path) -> None:
    run(
        "script",
        "bench",
        "blocks",
        "--positions",
        784,
        "--channels",
        8,
        "--blocks",
        "se",
        "--device",
        "cpu",
        "--seconds",
        0.1,
    )
    run(
        "script",
        "bench",
        "model",
        "--batch_size",
        1,
        "--num_frames",
        4,
        "--size_px",
        32,
        "--width",
        4,
        "--seconds",
        0.1,
    )
    run("script", "bench", "data", encode_video(tmp_path / "long" / "a.mp4", num_frames=61).parent, "--num_clips", 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_starts_commands(run: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "demo.py").write_text("from videonl.cli.demo import _videonl\n_videonl('models')\n")
    run("demo.py")  # all of it takes minutes; this is how it starts each of its commands
