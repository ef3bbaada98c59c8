"""Ctrl-C, which a terminal sends to every process of a command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Even where these tests run in the background of a shell, which lets Ctrl-C be ignored.
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from videonl.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def processes(session: int) -> list[str]:
    """The command lines of the processes of a session."""
    lines = subprocess.run(["ps", "-eo", "sess,stat,args"], capture_output=True, text=True, check=True).stdout
    fields = [line.split(maxsplit=2) for line in lines.splitlines()[1:]]
    return [command for number, state, command in fields if number == str(session) and not state.startswith("Z")]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no such server elsewhere")
@pytest.mark.parametrize(("command", "code"), [("index", 130), ("fit", 130)])
def test_while_the_workers_start(command: str, code: int, small_config: Path, clips: Path, tmp_path: Path) -> None:
    words: dict[str, list[object]] = {
        "index": [clips, "-o", tmp_path / "index.parquet"],
        "fit": ["--config", small_config, "--data.loading.num_workers", 1, "--run.dir", tmp_path / "run"],
    }
    started = subprocess.Popen(
        [sys.executable, "-c", MAIN, command, *map(str, words[command])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        while not any("multiprocessing.forkserver" in command for command in processes(started.pid)):
            assert started.poll() is None
            time.sleep(0.03)
        time.sleep(0.3)  # it is importing
        os.killpg(started.pid, signal.SIGINT)
        output, _ = started.communicate(timeout=60)
        assert started.returncode == code, output
        assert "nterrupt" in output
        assert "Traceback" not in output
        time.sleep(0.3)
        assert not processes(started.pid)
    finally:
        if processes(started.pid):
            os.killpg(started.pid, signal.SIGKILL)
