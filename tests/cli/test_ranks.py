"""``predict`` and ``features`` in several processes: forks of this one, or as torchrun and srun start them."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.cli.test_distributed import finish, free_port, start
from videonl.cli.main import main
from videonl.cli.together import own_device
from videonl.evaluation.unfinished import UnfinishedEvaluation
from videonl.files import locked
from videonl.inference import feature_folder, scoring
from videonl.runtime import ranks as ranks_of_commands
from videonl.runtime.ranks import ALONE, Ranks
from videonl.runtime.watch import GONE
from videonl.terminal import Pace

FORK = multiprocessing.get_context("fork")
PREDICT = ["--num-clips", "2", "--num-crops", "1", "--num-workers", "0"]
FEATURES = ["--time-limit", "0"]
Change = Callable[[int, Path], None]
COMMANDS = pytest.mark.parametrize("command", ["predict", "features"])


class Ended(NamedTuple):
    """What became of the processes, by rank: their exit codes, and what they printed."""

    codes: list[int | None]
    texts: list[str]


def _take_part(rank: int, variables: dict[str, str], words: Sequence[str], folder: Path, change: Change | None) -> None:
    printed = (folder / f"printed.{rank}").open("w")
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    sys.stdout = sys.stderr = printed
    os.environ.update(variables)
    torch.set_num_threads(1)  # forks have no others
    if change is not None:
        change(rank, folder)
    try:
        code = main(words)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    printed.flush()
    os._exit(code)


class Runner:
    """Runs a command in forks, in a folder of videos, and knows its results.

    Args:
        folder: For all that is written.
        videos: What it is of.
        weights: The network.
    """

    def __init__(self, folder: Path, videos: Path, weights: Path) -> None:
        self.folder, self.videos, self.weights = folder, videos, weights

    def words(self, command: str, out: str) -> list[str]:
        options = ["--checkpoint", str(self.weights), "--device", "cpu"]
        target = self.folder / (f"{out}.parquet" if command == "predict" else out)
        return [
            command,
            str(self.videos),
            *options,
            "--out",
            str(target),
            *(PREDICT if command == "predict" else FEATURES),
        ]

    def run(self, number: int, words: Sequence[str] | list[Sequence[str]], change: Change | None = None) -> Ended:
        """In so many processes, of one command line, or of one each."""
        each = words if isinstance(words[0], list) else [words] * number
        shared = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        processes = [
            FORK.Process(
                target=_take_part,
                args=(rank, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, each[rank], self.folder, change),
            )
            for rank in range(number)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        still = [process for process in processes if process.is_alive()]
        for process in still:
            process.kill()
        texts = [(self.folder / f"printed.{rank}").read_text() for rank in range(number)]
        assert not still, texts
        return Ended([process.exitcode for process in processes], texts)

    def result(self, command: str, out: str) -> dict[str, bytes]:
        if command == "predict":
            assert [path.name for path in self.folder.glob(f"*{out}.*")] == [f"{out}.parquet"]
            assert not list(self.folder.glob(".*"))  # of locks
            return {"": (self.folder / f"{out}.parquet").read_bytes()}
        return {path.name: path.read_bytes() for path in (self.folder / out).iterdir()}

    def logged(self, what: str) -> list[str]:
        """The names of videos in a log."""
        with suppress(FileNotFoundError):
            return sorted((self.folder / what).read_text().split())
        return []


@pytest.fixture
def runner(tmp_path: Path, clips: Path, shallow: Path) -> Runner:
    """Of nine videos, one of which cannot be read."""
    videos = tmp_path / "in" / "videos"
    videos.mkdir(parents=True)
    for number, video in enumerate(sorted(clips.glob("test/*/*.mp4"))[:8]):
        shutil.copy(video, videos / f"{number}.mp4")
    (videos / "4bad.mp4").write_text("no video")
    (tmp_path / "out").mkdir()
    return Runner(tmp_path / "out", videos, shallow)


GOOD = [str(number) for number in range(8)]


def log(folder: Path, what: str, video: object) -> None:
    with (folder / what).open("a") as file:
        file.write(f"{Path(str(video)).stem}\n")


def noting(act: Callable[[int, int], None]) -> Change:
    """Notes which videos are computed and kept; ``act(rank, number)`` is called before each that a process computes."""

    def change(rank: int, folder: Path) -> None:
        scores_of, add, save = scoring._scores_of, UnfinishedEvaluation.add, feature_folder.save_features
        numbers = iter(range(100))

        def scored(recognizer: Any, average: Any, batch: Any) -> Any:
            if not batch["failures"]:
                act(rank, next(numbers))
                log(folder, "computed", batch["path"][0])
            return scores_of(recognizer, average, batch)

        def added(self: UnfinishedEvaluation, score: Any) -> None:
            add(self, score)
            log(folder, "kept", score.path)

        def saved(features: Any, path: Path, kind: Any) -> None:
            act(rank, next(numbers))
            log(folder, "computed", path)
            save(features, path, kind)
            log(folder, "kept", path)

        scoring._scores_of = scored
        UnfinishedEvaluation.add = added  # type: ignore[method-assign]  # in a process of its own
        feature_folder.save_features = saved

    return change


def together() -> Callable[[int, int], None]:
    """None goes on before both have their first video: else one might do all before the other begins."""
    barrier = FORK.Barrier(2)

    def act(rank: int, number: int) -> None:
        if number == 0:
            barrier.wait(30)

    return act


def stopping(stopped: int) -> Callable[[int, int], None]:
    """One of two processes is killed at its second video; the other one waits for that at its own."""
    barrier = FORK.Barrier(2)
    waiting = FORK.Event()

    def act(rank: int, number: int) -> None:
        if number == 0:
            barrier.wait(30)
        elif rank == stopped:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            waiting.wait(30)

    return act


@COMMANDS
def test_two_processes_write_what_one_writes(runner: Runner, command: str) -> None:
    def change(rank: int, folder: Path) -> None:
        noted(rank, folder)
        Pace.is_due = lambda self: True  # type: ignore[method-assign]  # in a process of its own

    noted = noting(together())
    one = runner.run(1, runner.words(command, "first"))
    two = runner.run(2, runner.words(command, "second"), change)
    assert runner.logged("computed") == GOOD  # each of them once
    assert (one.codes, two.codes) == ([1], [1, 0])  # one video cannot be read
    # The one has a line more, of when it came to the bad video; here either may come to it.
    assert two.texts[0].partition("/out/")[2].replace("second", "first") in one.texts[0]
    assert two.texts[1] == ""
    assert ": 9 of 9\n" in two.texts[0]  # progress of both
    assert runner.result(command, "first") == runner.result(command, "second")


@COMMANDS
@pytest.mark.parametrize(("stopped", "then"), [(1, 3), pytest.param(0, 1, marks=pytest.mark.slow)])
def test_after_a_kill_another_number_of_processes_goes_on(
    runner: Runner, command: str, stopped: int, then: int
) -> None:
    words = runner.words(command, "killed")
    ended = runner.run(2, words, noting(stopping(stopped)))
    assert ended.codes == [-signal.SIGKILL if rank == stopped else 1 for rank in range(2)]
    assert ended.texts[1 - stopped] == f"videonl: error: process {stopped} of 2 {GONE}\n"
    kept = runner.logged("kept")
    assert len(kept) >= 2  # of both
    for name in ("kept", "computed"):
        (runner.folder / name).unlink()
    assert runner.run(then, words, noting(lambda rank, number: None)).codes == [1] + [0] * (then - 1)
    assert sorted([*kept, *runner.logged("computed")]) == GOOD
    runner.run(1, runner.words(command, "whole"))
    assert runner.result(command, "killed") == runner.result(command, "whole")


@COMMANDS
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_all_are_told_to_end(runner: Runner, command: str, number: int, code: int) -> None:
    barrier = FORK.Barrier(2)

    def act(rank: int, place: int) -> None:
        barrier.wait(30)
        os.kill(os.getpid(), number)

    ended = runner.run(2, runner.words(command, "ended"), noting(act))
    assert ended.codes == [code, code]
    assert "Traceback" not in "".join(ended.texts)
    assert "terminated" in ended.texts[0] or "nterrupted" in ended.texts[0]


@COMMANDS
def test_processes_that_are_asked_for_other_things(runner: Runner, command: str, tmp_path: Path) -> None:
    words = runner.words(command, "two")
    fewer = [word if word != str(runner.videos) else str(runner.videos / "1.mp4") for word in words]
    other = [*words, *(["--top", "1"] if command == "predict" else ["--stride-frames", "3"])]
    for second, message in ((fewer, "its videos are not those of process 0"), (other, "its options are not")):
        ended = runner.run(2, [words, second])
        assert ended.codes == [2, 2]
        assert f"videonl: error: process 1 of 2 failed: {message}" in ended.texts[0]
        assert "".join(ended.texts).count("\n") == 1
    assert sorted(path.name for path in runner.folder.iterdir()) == ["printed.0", "printed.1"]


@COMMANDS
def test_a_process_that_does_not_see_the_output(
    runner: Runner, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks_of_commands, "SEEING_SECONDS", 0.3)
    words = runner.words(command, "two")
    elsewhere = [word.replace(str(runner.folder), str(tmp_path / "elsewhere")) for word in words]
    ended = runner.run(2, [words, elsewhere])
    assert ended.codes == [2, 2]
    assert "process 1 of 2 failed: " in ended.texts[0]
    assert "is not the folder that process 0 writes to" in ended.texts[0]


@COMMANDS
def test_another_command_is_writing_there(runner: Runner, command: str) -> None:
    lock = runner.folder / (".two.parquet.lock" if command == "predict" else "two/.lock")
    with locked(lock, "something is written"):
        ended = runner.run(2, runner.words(command, "two"))
    assert ended.codes == [2, 2]
    assert "already, in another process; wait for it" in ended.texts[0]


def test_many_processes_need_a_file(runner: Runner) -> None:
    words = [word for word in runner.words("predict", "two") if "two" not in word and word != "--out"]
    ended = runner.run(2, words)
    assert ended.codes == [2, 2]
    assert "2 processes cannot print their predictions; write them to a file by --out" in "".join(ended.texts)


@COMMANDS
def test_variables_that_cannot_be(
    runner: Runner, command: str, videonl: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    ended = videonl(*runner.words(command, "two"))
    assert (ended.code, "WORLD_SIZE is missing" in ended.text) == (2, True)


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    of_five = [Ranks(rank, 5, rank) for rank in range(5)]
    assert [own_device("auto", ranks) for ranks in of_five] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert [own_device(name, of_five[1]) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]
    assert own_device("auto", ALONE) == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device("auto", of_five[1]) == "auto"


def two_nodes(words: Sequence[str]) -> "list[subprocess.Popen[str]]":
    """Both machines' torchrun, with one process each."""
    address = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    launcher = ["torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *address]
    return [start(*launcher, "--node-rank", rank, "-m", "videonl", *words) for rank in "01"]


def two_tasks(words: Sequence[str]) -> "list[subprocess.Popen[str]]":
    """Two tasks of a step, with what ``srun`` sets."""
    step = {"JOB_ID": str(free_port()), "STEP_ID": "0", "STEP_NUM_TASKS": "2", "STEP_NODELIST": "localhost"}
    tasks = [step | {"PROCID": rank, "LOCALID": rank} for rank in "01"]
    named = [{f"SLURM_{name}": value for name, value in task.items()} for task in tasks]
    return [start("videonl", *words, **variables) for variables in named]


@pytest.mark.slow
@COMMANDS
@pytest.mark.parametrize("launch", [two_nodes, two_tasks])
def test_launchers_start_it(
    runner: Runner, command: str, launch: Callable[[Sequence[str]], "list[subprocess.Popen[str]]"]
) -> None:
    """With further processes that decode, as is the default."""
    (runner.videos / "4bad.mp4").unlink()
    finish(*launch(runner.words(command, "two")[:-2]))
    assert runner.run(1, runner.words(command, "one")).codes == [0]
    assert runner.result(command, "two") == runner.result(command, "one")
