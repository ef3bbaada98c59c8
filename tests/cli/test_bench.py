"""``videonl bench``: tiny comparisons, end to end, and mistakes."""

import json
from collections.abc import Callable

import pytest

from tests.benchmarks.test_measure import kept_here
from videonl.benchmarks import comparison, measure, network_comparison
from videonl.benchmarks.busy import Shares
from videonl.cli.main import main

TINY = ("--positions", "35", "--channels", "7", "--device", "cpu", "--seconds", "0.01")


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures here, where starting a process takes seconds; peaks, for which malloc would be set up anew, are said."""
    monkeypatch.setattr(comparison, "run_apart", lambda function, *arguments: function(*arguments))
    for module in (measure, network_comparison):
        monkeypatch.setattr(module, "kept_apart", kept_here)
    monkeypatch.setattr(measure, "peak_bytes", lambda step, device: step() or 3 * 2**20)


def test_measurements_have_processes_of_their_own(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "blocks", *TINY, "--blocks", "gc_vs_embedded_gaussian", "--json"]) == 0
    (row,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert min(row["ours"]["step_ms"], row["plain"]["step_ms"]) > 0
    assert min(row["ours"]["peak_mib"], row["plain"]["peak_mib"]) >= 0


@pytest.mark.usefixtures("in_process")
def test_json_is_one_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "blocks", *TINY, "--blocks", "gc", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["case"] for row in rows] == ["gc", "gc_vs_embedded_gaussian"]
    for row in rows:
        assert (row["bench"], row["positions"], row["device"], row["dtype"]) == ("blocks", 35, "cpu", "float32")
        assert row["ours"].keys() == row["plain"].keys() == {"forward_ms", "step_ms", "peak_mib"}
        for name in ("forward", "step"):
            ratio = row["plain"][f"{name}_ms"] / row["ours"][f"{name}_ms"]
            assert row[f"ratio_{name}"] == (None if row["unstable"][name] else pytest.approx(ratio))
            assert row["rounds"][name] >= 3 and row["spread"][name] >= 0
            assert row["minimum_ms"][name]["ours"] <= row["ours"][f"{name}_ms"]


@pytest.mark.usefixtures("in_process")
def test_a_busy_machine_is_said(videonl: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videonl.benchmarks.busy.Others.shares", lambda self: Shares(0.43, 0.07))
    _, text = videonl("bench", "blocks", *TINY, "--blocks", "se", "--json")
    assert "warning: the machine was busy: other processes took 43% of its cores, and its host 7%;" in text


@pytest.mark.usefixtures("in_process")
def test_the_table_begins_with_the_machine(videonl: Callable[..., tuple[int, str]]) -> None:
    code, text = videonl("bench", "blocks", *TINY, "--positions", "35,77", "--blocks", "concatenation_vs_broadcast")
    assert code == 0
    assert " threads" in text[: text.index("peak MiB")]
    assert "N x N broadcast" in text
    assert "memory, ours" in text[text.index("growth") :]


SMALL = (
    "--width",
    "2",
    "--batch_size",
    "1",
    "--num_frames",
    "3",
    "--size_px",
    "33",
    "--device",
    "cpu",
    "--seconds",
    "0.01",
)


@pytest.mark.usefixtures("in_process")
def test_a_model_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    execution = ("--execution.in_place", "false", "--execution.checkpoint", "[res3]", "--keep_memory", "false")
    assert main(["bench", "model", *SMALL, *execution, "--json"]) == 0
    (row,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (row["bench"], row["case"], row["device"], row["dtype"]) == ("model", "i3d_r50_nonlocal5", "cpu", "float32")
    assert row["clips"] == [1, 3, 3, 33, 33]
    assert row["ours"].keys() == row["plain"].keys() == {"forward_ms", "step_ms", "peak_mib"}
    for name, quantity in (("forward", "forward_ms"), ("step", "step_ms"), ("memory", "peak_mib")):
        ratio = row["plain"][quantity] / row["ours"][quantity]
        assert row[f"ratio_{name}"] == (None if row["unstable"].get(name) else pytest.approx(ratio))
    forward_seconds, step_seconds = row["ours"]["forward_ms"] / 1e3, row["ours"]["step_ms"] / 1e3
    assert row["clips_per_second"]["ours"]["step"] == pytest.approx(1 / step_seconds)
    rate = 1e9 * row["matmul_gflops_per_second"]
    assert row["share_of_matmul_rate"]["forward"] == pytest.approx(row["flops"] / forward_seconds / rate)
    assert row["share_of_matmul_rate"]["step"] == pytest.approx(3 * row["flops"] / step_seconds / rate)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--backbone", "r50"), "unknown backbone 'r50'; the backbones are: c2d_r101"),
        (("--batch_size", "0"), "--batch_size must be at least 1, got 0"),
        pytest.param(
            ("--execution.checkpoint", "[res9]"), "unknown stage 'res9' in checkpoint", marks=pytest.mark.slow
        ),  # found in the process that measures
    ],
)
def test_mistakes_about_a_model_are_named(
    videonl: Callable[..., tuple[int, str]], options: tuple[str, str], message: str
) -> None:
    code, text = videonl("bench", "model", *SMALL, *options)
    assert code == 2
    assert message in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--blocks", "gcc"), "unknown block 'gcc'; the blocks are: gaussian, embedded_gaussian, dot_product"),
        (("--positions", "35,x"), "--positions must be positive whole numbers separated by commas, got '35,x'"),
        (("--channels", "0"), "--channels must be at least 1, got 0"),
    ],
)
def test_mistakes_are_named(videonl: Callable[..., tuple[int, str]], options: tuple[str, str], message: str) -> None:
    code, text = videonl("bench", "blocks", *options)
    assert code == 2
    assert message in text
