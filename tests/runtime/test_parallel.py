import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from videonl.data.loader import worker_options
from videonl.runtime import parallel
from videonl.runtime.parallel import NoResult, map_limited


def test_a_hang_and_a_crash_cost_no_other_result(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    hang, spin, crash = (
        f"open('{tmp_path / 'pipe'}').read()",
        "all(True for _ in iter(int, 1))",
        "__import__('os')._exit(7)",
    )
    sums = [f"{number} + 0" for number in range(23)]
    parallel.safe_context()  # its server imports for as long as the machine needs
    start = time.monotonic()
    outcomes = dict(map_limited(eval, [hang, *sums[:11], crash, *sums[11:], spin], num_workers=2, limit_seconds=2))
    assert time.monotonic() - start < 30
    assert [outcomes.pop(text) for text in sums] == list(range(23))
    assert outcomes == {
        hang: NoResult("not done within 2 seconds"),
        spin: NoResult("not done within 2 seconds"),
        crash: NoResult("crashed the process that read it (exit code 7)"),
    }


def test_processes_that_are_starting_at_the_end_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "few.py").write_text(
        "from videonl.runtime.parallel import map_limited\n"
        "if __name__ == '__main__':\n"
        "    for _ in range(5):\n"
        "        print(list(map_limited(abs, [-3], 7, 60)))\n"
    )
    script = [sys.executable, "-W", "ignore", str(tmp_path / "few.py")]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=240, check=True)
    assert (ended.stdout, ended.stderr) == (5 * "[(-3, 3)]\n", "")


def test_what_the_function_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_limited(eval, ["1 / 0"], num_workers=1, limit_seconds=20))


def test_work_is_handed_out_as_it_is_done() -> None:
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield f"{asked[-1]}"

    outcomes = map_limited(eval, endless(), num_workers=1, limit_seconds=20)
    assert [next(outcomes)[1] for _ in range(5)] == [0, 1, 2, 3, 4]  # one process: in order, even where two are done
    outcomes.close()
    assert len(asked) < 9


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are children of the one that starts them")
@pytest.mark.parametrize("kind", ["files", "busy loader", "idle loader"])
def test_nothing_is_left_of_a_starter_that_is_killed(kind: str) -> None:
    command = [sys.executable, str(Path(__file__).with_name("starter.py")), kind]
    starter = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert starter.returncode == -signal.SIGKILL, starter.stderr
    workers = [int(line) for line in starter.stdout.split()]
    assert len(workers) == 2
    until = time.monotonic() + 5
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


SCRIPT = """
from torch.utils.data import DataLoader
from videonl.data.loader import worker_options
print(next(iter(DataLoader([7], **worker_options(1)))))
"""


def test_a_script_may_come_from_standard_input() -> None:
    ran = subprocess.run([sys.executable, "-"], input=SCRIPT, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "tensor([7])\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python says it, once for each process")
def test_a_script_that_does_its_work_on_import_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "below `if __name__ == '__main__':`" in ran.stderr.splitlines()[-1]


def test_no_process_is_started_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "safe_context", lambda *modules: pytest.fail("it is not needed"))
    assert list(map_limited(eval, [], num_workers=2, limit_seconds=1)) == []


def test_processes_are_no_forks() -> None:
    parents = set(torch.cat(list(DataLoader(Parents(), **worker_options(2)))).tolist())
    assert os.getpid() not in parents
    assert sys.platform != "linux" or len(parents) == 1  # the server


class Parents(Dataset[int]):
    """The parent of whichever process is asked."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        return os.getppid()
