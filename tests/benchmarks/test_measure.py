"""Measurements: what fits, what a peak is, how growth is fitted, and what the JSON says."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from videonl.benchmarks import CASES, Measurement, Row, Setting, as_json, check, comparison, grid_of, measure, report
from videonl.benchmarks.cases import Implementation, select_cases
from videonl.benchmarks.measure import BlockSubject, measure_case
from videonl.benchmarks.memory import peak_bytes, predicted_bytes
from videonl.benchmarks.rounds import Rounds
from videonl.errors import UserError

MIB = 2**20
KEYS = {"bench", "case", "positions", "device", "dtype", "ours", "plain", "ratio_forward", "ratio_step", "ratio_memory"}


def row(positions: int, ours: Measurement | None, plain: Measurement | None) -> Row:
    return Row(CASES[0], positions, Setting(grid_of(positions), 7), ours, plain, 11, 13, 17)


def test_json_has_ratios_of_plain_by_ours() -> None:
    line = json.loads(json.dumps(as_json(row(784, Measurement(2.0, 5.0, 3.0), Measurement(14.0, 65.0, 33.0)))))
    assert line.keys() >= KEYS
    assert (line["bench"], line["case"], line["positions"]) == ("blocks", "gaussian", 784)
    assert line["ours"] == {"forward_ms": 2, "step_ms": 5, "peak_mib": 3}
    assert (line["ratio_forward"], line["ratio_step"], line["ratio_memory"]) == (7, 13, 11)


def test_a_ratio_that_another_run_would_not_confirm_is_not_shown() -> None:
    shaky = Rounds((2.0, 2.0, 2.0), (2.0, 7.0, 29.0))
    steady = Rounds((5.0, 5.0, 5.0), (65.0, 65.0, 65.0))
    one = replace(
        row(784, Measurement(2.0, 5.0, 3.0), Measurement(7.0, 65.0, 33.0)), rounds={"forward": shaky, "step": steady}
    )
    line = json.loads(json.dumps(as_json(one)))
    assert (line["ratio_forward"], line["ratio_step"], line["ratio_memory"]) == (None, 13, 11)
    assert line["unstable"] == {"forward": True, "step": False}
    assert line["rounds"] == {"forward": 3, "step": 3}
    assert line["spread"]["step"] == 0 and line["spread"]["forward"] > 0.1
    assert line["minimum_ms"]["forward"] == {"ours": 2, "plain": 2}
    assert [report._cells(one)[place] for place in (3, 4)] == ["[bold]13x[/bold]", "unstable"]


def test_json_of_what_does_not_fit_is_null() -> None:
    line = as_json(row(784, Measurement(2.0, 5.0, 3.0), None))
    assert (line["plain"], line["ratio_forward"], line["ratio_step"], line["ratio_memory"]) == (None, None, None, None)


def test_growth_is_the_exponent() -> None:
    rows = [row(n, Measurement(1, 3 * n, 5), Measurement(1, 7 * n**2, 5) if n < 999 else None) for n in (35, 77, 1001)]
    assert report.growth(rows, "ours", "step_ms") == pytest.approx(1)
    assert report.growth(rows, "plain", "step_ms") == pytest.approx(2)
    assert report.growth(rows, "ours", "peak_mib") == pytest.approx(0, abs=1e-12)
    assert report.growth(rows[:1], "ours", "step_ms") is None
    assert report.growth_table(rows[:1]) is None


def test_peak_is_that_of_the_worst_moment() -> None:
    def work() -> None:
        torch.ones(30 * MIB)  # 120 MiB, freed at once
        torch.ones(10 * MIB)

    # The least of three: pages of the program that the system had dropped and fetches back meanwhile count too.
    assert min(peak_bytes(work, torch.device("cpu")) for _ in range(3)) / MIB == pytest.approx(120, rel=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_peak_is_that_of_the_worst_moment_where_the_process_kept_what_was_freed() -> None:
    """As after a training in the same process; in a process of its own, which ends with it."""
    code = f"""
import torch
from videonl.benchmarks.memory import peak_bytes
from videonl.models.execution import keep_freed_memory
keep_freed_memory()
torch.ones(30 * {MIB}), torch.ones(20 * {MIB})
def work():
    torch.ones(30 * {MIB})
    torch.ones(10 * {MIB})
print(min(peak_bytes(work, torch.device("cpu")) for _ in range(3)))
"""
    printed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert int(printed.stdout) / MIB == pytest.approx(120, rel=0.1)


def test_prediction_counts_what_is_alive_at_once() -> None:
    x = torch.empty(7, 11, device="meta")
    assert predicted_bytes(lambda: (x + 1).exp().view(11, 7) * 2) == 2 * 7 * 11 * 4


def test_prediction_follows_the_n_by_n_matrix() -> None:
    setting = Setting((1, 28, 28), channels=7)
    block, x = measure._prepare(Implementation("embedded_gaussian", "matrix"), setting, "meta")
    matrix_bytes = 784 * 784 * 4
    predicted = predicted_bytes(lambda: measure._step(Implementation("embedded_gaussian", "matrix"), block, x))
    assert 2 * matrix_bytes < predicted < 6 * matrix_bytes


class Stub:
    """A side whose step runs out of memory, and one that does not."""

    def __init__(self, implementation: Implementation, setting: Setting) -> None:
        self.form = implementation.form

    def step_ms(self) -> float | None:
        return 3.0 if self.form == "ours" else None

    forward_ms = peak_mib = step_ms


@contextmanager
def kept_here(build: Callable[..., Any], *given: Any) -> Iterator[Callable[[str], Any]]:
    subject = build(*given)

    def ask(name: str, *words: Any) -> Any:
        found = getattr(subject, name)
        return found(*words) if callable(found) else found

    yield ask


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "kept_apart", kept_here)


@pytest.mark.usefixtures("in_process")
def test_what_would_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(measure, "BlockSubject", Stub)
    found, rounds = measure_case(select_cases(["gc"])[0], Setting((1, 5, 7), channels=7, seconds=0.02))
    assert found == {"ours": Measurement(3.0, 3.0, 3.0)}
    assert (len(rounds["step"]), rounds["step"].plain, rounds["step"].unstable) == (7, (), False)


@pytest.mark.usefixtures("in_process")
def test_what_runs_out_of_memory_leaves_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "BlockSubject", Stub)
    found, rounds = measure_case(select_cases(["gc"])[0], Setting((1, 5, 7), channels=7, seconds=0.02))
    assert found.keys() == {"ours"}
    assert rounds["forward"].median == {"ours": 3.0}


@pytest.mark.parametrize("message", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes"])
def test_running_out_of_memory_is_a_result(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(measure, "_step", fail)
    subject = BlockSubject(Implementation("gc"), Setting((1, 5, 7), channels=7))
    assert subject.step_ms() is None and subject.peak_mib() is None
    assert subject.forward_ms() is not None


def test_other_mathematics_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "run_apart", lambda function, *arguments: function(*arguments))
    cases = select_cases(["dot_product"])
    setting = Setting((1, 5, 7), channels=7)
    check(cases, setting)
    monkeypatch.setattr(measure.Implementation, "__call__", lambda self, block, x: x * (1 + len(self.form)))
    with pytest.raises(RuntimeError, match="dot_product and its plain form differ by"):
        check(cases, setting)


def test_an_unknown_block_is_answered_with_the_list() -> None:
    with pytest.raises(UserError, match=r"unknown block 'gcc'; the blocks are: gaussian, .*concatenation, apnb.*, se"):
        select_cases(["gcc"])


def test_blocks_and_single_cases_can_be_selected() -> None:
    assert [case.name for case in select_cases(["gc", "concatenation_vs_broadcast"])] == [
        *("concatenation_vs_broadcast", "gc", "gc_vs_embedded_gaussian")
    ]
    assert select_cases([]) == CASES


@pytest.mark.parametrize(
    ("positions", "grid"), [(784, (1, 28, 28)), (25088, (32, 28, 28)), (35, (1, 5, 7)), (13, (1, 1, 13))]
)
def test_grid(positions: int, grid: tuple[int, int, int]) -> None:
    assert grid_of(positions) == grid
