"""``videonl bench blocks``: a tiny comparison, end to end, and mistakes."""

import json
from collections.abc import Callable

import pytest

from videonl.cli.main import main

TINY = ("--positions", "35", "--channels", "7", "--device", "cpu", "--seconds", "0.01")


def test_json_is_one_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "blocks", *TINY, "--blocks", "gc", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["case"] for row in rows] == ["gc", "gc_vs_embedded_gaussian"]
    for row in rows:
        assert (row["bench"], row["positions"], row["device"], row["dtype"]) == ("blocks", 35, "cpu", "float32")
        assert row["ours"].keys() == row["plain"].keys() == {"forward_ms", "step_ms", "peak_mib"}
        assert row["ratio_step"] == pytest.approx(row["plain"]["step_ms"] / row["ours"]["step_ms"])


def test_the_table_begins_with_the_machine(videonl: Callable[..., tuple[int, str]]) -> None:
    code, text = videonl("bench", "blocks", *TINY, "--positions", "35,77", "--blocks", "concatenation_vs_broadcast")
    assert code == 0
    assert " threads" in text[: text.index("peak MiB")]
    assert "N x N broadcast" in text
    assert "memory, ours" in text[text.index("growth") :]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--blocks", "gcc"), "unknown block 'gcc'; the blocks are: gaussian, embedded_gaussian, dot_product"),
        (("--positions", "35,x"), "--positions must be positive whole numbers with commas between, got '35,x'"),
        (("--channels", "0"), "--channels and --seconds must be positive, got 0 and"),
    ],
)
def test_mistakes_are_named(videonl: Callable[..., tuple[int, str]], options: tuple[str, str], message: str) -> None:
    code, text = videonl("bench", "blocks", *options)
    assert code == 2
    assert message in text
