"""Means, differences and verdicts, against numbers written out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, VideoScore, compare, read_record, write_record
from videonl.evaluation.intervals import Interval
from videonl.study import Study, StudyFolder
from videonl.study.outcomes import Findings, Gain, Outcome, findings_of
from videonl.study.results import read_results

MakeStudy, Finish = Callable[..., Study], Callable[..., None]


def outcome(findings: Findings, name: str) -> Outcome:
    return next(each for each in findings.outcomes if each.name == name)


def gain(findings: Findings, name: str = "axial") -> Gain:
    found = outcome(findings, name).gain
    assert found is not None
    return found


def test_means_deviations_costs_and_differences(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> None:
    study = make_study()
    folder.begin(study)
    generator = np.random.default_rng(3)
    hits = {
        cell.name: generator.integers(0, 2, 31) | (cell.variant == "axial") * generator.integers(0, 2, 31)
        for cell in study.cells
    }
    for cell in study.cells:
        finish(folder, cell, hits[cell.name].tolist())
    findings = findings_of(read_results(folder))
    tops = {v: [hits[f"{v}-seed{seed}"].mean() for seed in range(3)] for v in ("none", "axial")}
    for variant, values in tops.items():
        found = outcome(findings, variant)
        assert found.metrics["top1"] == pytest.approx(values, abs=1e-12)
        assert found.mean("top1") == pytest.approx(np.mean(values), abs=1e-12)
        assert found.deviation("top1") == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert gain(findings).difference == pytest.approx(np.mean(tops["axial"]) - np.mean(tops["none"]), abs=1e-12)
    low, high = gain(findings).interval
    assert low < gain(findings).difference < high
    assert gain(findings).num_seeds == 3
    assert gain(findings).p_value is None
    none = outcome(findings, "none")
    assert none.gain is None
    assert (none.parameters, none.macs) == (1007, 10**9 + 11)  # of three classes
    assert (none.clips_per_second, none.step_seconds, none.peak_memory_bytes) == (15, 6 / 15, 200 * 2**20)
    for index, name in enumerate(("run", "sit", "wave")):
        expected = np.mean([hits[f"none-seed{seed}"][index::3].mean() for seed in range(3)])
        assert none.classes[name] == pytest.approx(expected, abs=1e-12)


def test_one_seed_is_compared_as_two_records_are(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> None:
    study = make_study(seeds=[4])
    folder.begin(study)
    none, axial = study.cells
    finish(folder, none, [0] * 9 + [1] * 8)
    finish(folder, axial, [1] * 9 + [1] * 6 + [0] * 2)
    found = gain(findings_of(read_results(folder)))
    both = compare(read_record(folder.of(none).record), read_record(folder.of(axial).record))
    assert (found.difference, found.p_value) == (both.metrics["top1"].difference, both.p_value)
    assert found.interval == pytest.approx(both.metrics["top1"].interval, abs=1e-12)
    assert found.interval.low > 0
    assert found.verdict == "not separated"  # p = 0.065, and so says compare
    assert "do not separate" in both.verdict


@pytest.mark.parametrize(
    ("low", "high", "p_value", "num_changed", "verdict"),
    [
        (0.01, 0.2, None, 23, "better"),
        (-0.2, -0.01, None, 23, "worse"),
        (-0.01, 0.2, None, 23, "not separated"),
        (0.0, 0.2, None, 23, "not separated"),
        (0.01, 0.2, 0.07, 23, "not separated"),
        (0.01, 0.2, None, 5, "not separated"),  # five of five in one direction: p = 0.0625
        (0.01, 0.2, None, 6, "better"),
        (0.01, 0.2, None, None, "better"),
    ],
)
def test_verdicts(low: float, high: float, p_value: float | None, num_changed: int | None, verdict: str) -> None:
    assert Gain(3, 0.1, Interval(low, high), p_value, num_changed).verdict == verdict


def test_no_winner_is_named_where_intervals_hold_zero(
    make_study: MakeStudy, finish: Finish, folder: StudyFolder
) -> None:
    study = make_study(["none", "axial", "good"])
    folder.begin(study)
    right = {"none": [1, 0] * 15, "axial": [1, 0] * 14 + [1, 1], "good": [1] * 30}
    for cell in study.cells:
        finish(folder, cell, right[cell.variant])
    findings = findings_of(read_results(folder))
    assert findings.conclusion == ["Better than none by top-1: good.", "Not separated from none: axial."]
    assert "up to 10 %" in findings.cautions[-1]
    (folder.of(study.cells[2]).path / "trained").unlink()
    for cell in study.cells:
        if cell.variant == "good":
            folder.of(cell).record.unlink()
    assert findings_of(read_results(folder)).conclusion[0].startswith("No winner")


def test_only_seeds_of_both_are_compared(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> None:
    study = make_study()
    folder.begin(study)
    for cell in study.cells:
        if cell.name not in ("none-seed0", "axial-seed2"):
            finish(folder, cell, [1, 0, 1, 0, 1] if cell.variant == "none" else [1, 1, 1, 0, cell.seed])
    findings = findings_of(read_results(folder))
    assert outcome(findings, "none").seeds == [1, 2]
    assert outcome(findings, "axial").seeds == [0, 1]
    assert gain(findings).num_seeds == 1
    assert gain(findings).difference == pytest.approx(0.2, abs=1e-12)
    assert any("One seed" in line for line in findings.cautions)


def test_the_videos_of_all_folds_count_as_one_set(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> None:
    study = make_study(seeds=[0, 1], folds=["a", "b"])
    folder.begin(study)
    assert [cell.name for cell in study.cells[:3]] == ["none-a-seed0", "axial-a-seed0", "none-b-seed0"]
    for cell in study.cells:
        hits = [1, 1, 0] if cell.fold == "a" else [1, 0, 0, 0]
        if cell.name != "axial-b-seed1":
            finish(folder, cell, hits)
    findings = findings_of(read_results(folder))
    assert findings.num_videos == 7
    assert outcome(findings, "none").metrics["top1"] == pytest.approx([3 / 7] * 2)
    assert outcome(findings, "axial").seeds == [0]  # the other one lacks a fold


def test_a_test_of_other_videos_is_named_and_left_out(
    make_study: MakeStudy, finish: Finish, folder: StudyFolder
) -> None:
    study = make_study(seeds=[0, 1])
    folder.begin(study)
    for cell in study.cells:
        finish(folder, cell, [1, 0, 1] if cell.name == "axial-seed1" else [1, 0, 1, 1])
    findings = findings_of(read_results(folder))
    assert findings.excluded.keys() == {"axial-seed1"}
    assert "3.mp4" in findings.excluded["axial-seed1"]
    assert outcome(findings, "axial").seeds == [0]


def test_several_labels_are_compared_by_map(make_study: MakeStudy, folder: StudyFolder) -> None:
    study = make_study(seeds=[0, 1])
    folder.begin(study)
    generator = torch.Generator().manual_seed(1)
    for cell in study.cells:
        scores = []
        for video in range(23):
            label = (video % 3,) if video % 2 else (video % 3, (video + 1) % 3)
            logits = torch.randn(1, 3, generator=generator)
            logits[0, list(label)] += 2.0 * (cell.variant == "axial")
            scores.append(VideoScore(video, f"{video}.mp4", label, logits, ((0, 0),), "sigmoid"))
        path = folder.of(cell).path
        write_record(path / "test.parquet", EvaluationRecord(["a", "b", "c"], scores))
        folder.of(cell).note_trained()
    findings = findings_of(read_results(folder))
    assert findings.metric == "map"
    records = [read_record(folder.of(cell).record) for cell in study.cells]
    expected = [record.accuracies["map"] for record in records]
    assert outcome(findings, "none").metrics["map"] == pytest.approx(expected[::2], abs=1e-12)
    assert gain(findings).difference == pytest.approx(sum(expected[1::2]) / 2 - sum(expected[::2]) / 2, abs=1e-12)
    assert gain(findings).verdict == "better"


def test_a_metric_that_the_evaluations_lack_is_refused(
    make_study: MakeStudy, finish: Finish, folder: StudyFolder
) -> None:
    study = make_study(metric="map")
    folder.begin(study)
    for cell in study.cells:
        finish(folder, cell, [1, 0, 1])
    with pytest.raises(UserError, match="metric map is not one of these evaluations; choose top1, mean_class"):
        findings_of(read_results(folder))


def test_another_metric(make_study: MakeStudy, finish: Finish, folder: StudyFolder) -> None:
    study = make_study(metric="mean_class")
    folder.begin(study)
    for cell in study.cells:
        finish(folder, cell, [1, 1, 0, 0, 0], labels=[0, 0, 0, 0, 1] if cell.variant == "none" else None)
    excluded: Any = findings_of(read_results(folder)).excluded
    assert "another label" in excluded["axial-seed0"]


def test_nothing_is_finished(make_study: MakeStudy, folder: StudyFolder, tmp_path: Path) -> None:
    folder.begin(make_study())
    findings = findings_of(read_results(folder))
    assert findings.num_videos == 0
    assert findings.conclusion == ["There is no variant yet that has a finished seed in common with none."]
    assert np.isnan(findings.outcomes[0].mean("top1"))
