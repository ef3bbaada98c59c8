"""The notebook of the docs runs from its first cell to its last."""

import json
from pathlib import Path
from typing import Any

import pytest

import videonl
from tests.small_weights import small_weights

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial.ipynb"


@pytest.mark.filterwarnings("ignore:Glyph")
def test_the_notebook_runs(tmp_path: Path) -> None:
    videonl.synth(tmp_path / "clips", num_train=0, num_val=0, num_test=7, size_px=38, num_frames=11)
    small_weights().save(tmp_path / "small.pt")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    (parameters,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert cells[0] is parameters
    assert not any(cell["outputs"] for cell in cells)  # what a run of one's own shows would differ
    names: dict[str, Any] = {
        "checkpoint": str(tmp_path / "small.pt"),
        "clips": str(tmp_path / "clips" / "test"),
        "out": str(tmp_path / "out"),
    }
    for cell in cells[1:]:
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    assert len(names["videos"]) == 7
    assert len(names["features"].values) == len(names["features"]) > 1
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {"predictions.csv", "timeline.csv", "attention/res3.3.png", *evidence_files(names)}


def evidence_files(names: dict[str, Any]) -> list[str]:
    return [f"evidence/{name}.gif" for name in names["evidence"]]
