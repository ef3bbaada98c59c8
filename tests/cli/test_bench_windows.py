"""``videonl bench windows`` on a small file, end to end, and mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videonl.benchmarks import windows as windows_module
from videonl.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # decord's
OPTIONS = {"width": 3, "num_frames": 5, "short_side_px": 37, "crop_px": 31, "window_stride_frames": 4, "rounds": 1}
SMALL = [f"--{name}={value}" for name, value in OPTIONS.items()]


def test_json_is_one_object_a_line_and_both_sides_agree(
    tmp_path: Path, encode_video: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=61, width=66)  # 53 resized: an odd margin
    assert main(["bench", "windows", str(path), *SMALL, "--json"]) == 0
    rows: list[dict[str, Any]] = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert rows[0]["peer"] == "pyav" and rows[0]["difference"] < 1e-4
    assert all(row["num_windows"] == 14 and row["rounds"] == 1 for row in rows)
    assert all(row["unstable"] and row["ratio"] is None for row in rows)  # of one round nothing is known


def test_sides_that_score_differently_and_short_videos_are_refused(
    tmp_path: Path, encode_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode_video(tmp_path / "a.mp4", num_frames=9)
    assert main(["bench", "windows", str(path), *SMALL[:1], "--num_frames=7"]) == 2
    monkeypatch.setitem(windows_module.SIDES, "pyav", lambda job: windows_module.our_logits(job) + 1)
    with pytest.raises(ValueError, match="the two sides score differently"):
        main(["bench", "windows", str(path), *SMALL])
