"""The page and its tables, of made-up cells."""

import csv
import json
import re
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from videonl.study import Study, StudyFolder
from videonl.study.report import write_report
from videonl.study.results import read_log, read_results

MakeStudy, Finish = Callable[..., Study], Callable[..., None]


@pytest.fixture
def running(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> StudyFolder:
    """Two of three seeds are finished; of the third one cell failed, one is at work."""
    study = make_study(["none", "axial"])
    folder.begin(study)
    for cell in study.cells[:4]:
        finish(folder, cell, [1, 0] * 13 if cell.variant == "none" else [1] * 25 + [cell.seed])
    folder.of(study.cells[4]).note("failed", "videonl fit was killed by signal 9; fit.log ends with\n  <b>bold</b>")
    folder.of(study.cells[5]).note("fitting")
    return folder


def test_the_page_while_the_study_runs(running: StudyFolder) -> None:
    page = write_report(running.path, read_results(running))[0].read_text()
    assert "4 of 6 cells finished" in page
    assert "Better than none by top-1: axial." in page
    assert "killed by signal 9" in page
    assert "<b>bold</b>" not in page  # what a log holds is text
    assert re.search(r"axial-seed2</td><td class=\"plain\">fitting", page)
    assert len(re.findall(r"data:image/svg\+xml;base64", page)) == 2  # against cost, and learning curves
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    classes = page[page.index("<h2>Classes") :]
    assert classes.index("<td>run</td>") < classes.index("<h2>Cells")


def test_tables_hold_what_the_page_says(running: StudyFolder) -> None:
    _, as_csv, as_parquet, cells = write_report(running.path, read_results(running))
    rows = pq.read_table(as_parquet).to_pylist()
    assert [row["variant"] for row in rows] == ["none", "axial"]
    none, axial = rows
    assert none["top1_mean"] == pytest.approx(0.5)
    assert none["top1_sd"] == 0
    assert none["difference"] is None
    assert axial["top1_mean"] == pytest.approx((25 / 26 + 1) / 2)
    assert axial["difference"] == pytest.approx(axial["top1_mean"] - 0.5)
    assert axial["low"] < axial["difference"] < axial["high"]
    assert (axial["verdict"], axial["difference_num_seeds"], axial["parameters"]) == ("better", 2, None)
    with as_csv.open(newline="") as file:
        text = list(csv.DictReader(file))
    assert [row["variant"] for row in text] == ["none", "axial"]
    assert float(text[1]["difference"]) == axial["difference"]
    with cells.open(newline="") as file:
        states = {row["cell"]: row["state"] for row in csv.DictReader(file)}
    assert states == {
        **{f"{variant}-seed{seed}": "finished" for variant in ("none", "axial") for seed in (0, 1)},
        "none-seed2": "failed",
        "axial-seed2": "fitting",
    }


def test_a_report_of_nothing(make_study: MakeStudy, folder: StudyFolder) -> None:
    folder.begin(make_study())
    page = write_report(folder.path, read_results(folder))[0].read_text()
    assert "0 of 6 cells finished" in page
    assert "waiting" in page


def test_a_runner_that_is_gone_has_interrupted_its_cell(make_study: MakeStudy, folder: StudyFolder) -> None:
    study = make_study()
    progress = folder.of(study.cells[0]).path / "progress.json"
    folder.of(study.cells[0]).note("fitting")
    content = json.loads(progress.read_text())
    progress.write_text(json.dumps(content | {"process": 2**22 + 1}))  # more than Linux gives
    assert folder.of(study.cells[0]).state == "interrupted"
    progress.write_text(json.dumps(content | {"process": 2**22 + 1, "host": "elsewhere"}))
    assert folder.of(study.cells[0]).state == "fitting"


def test_the_log_of_a_training(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> None:
    cell = make_study().cells[0]
    finish(folder, cell, [1, 0], accuracies={1: 0.25, 2: 0.5, 3: 0.75})
    log = read_log(folder.of(cell).path)
    assert log.validation == {1: 0.25, 2: 0.5, 3: 0.75}
    assert log.loss == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    assert (log.clips_per_second, log.peak_memory_bytes) == (20, 300 * 2**20)
