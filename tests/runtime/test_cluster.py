import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from videonl.cli.index import index
from videonl.cli.main import main
from videonl.cli.prepare import prepare
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import read_index
from videonl.data.sources.labeled import read_source
from videonl.errors import UserError
from videonl.runtime import cluster as engine
from videonl.runtime import cluster_worker
from videonl.runtime.cluster import Cluster, joined
from videonl.runtime.parallel import NoResult, map_limited

distributed = pytest.importorskip("distributed", reason="Dask is absent: pip install 'videonl[cluster]'")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning:distributed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers of one thread within this process."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "protocol": "tcp"}
    with distributed.Client(processes=False, set_as_default=False, **options) as client:
        yield client


def address_of(client: Any) -> str:
    return str(client.scheduler.address)


def test_a_hang_and_a_crash_cost_no_other_result(client: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    hang, crash = f"open('{tmp_path / 'pipe'}').read()", "__import__('os')._exit(7)"
    sums = [f"{number} + 0" for number in range(11)]
    outcomes = dict(map_limited(eval, [hang, *sums[:5], crash, *sums[5:]], 1, 1, Cluster(client)))
    assert [outcomes.pop(text) for text in sums] == list(range(11))
    assert outcomes == {
        hang: NoResult("not done within 1 seconds"),
        crash: NoResult("crashed the process that read it (exit code 7)"),
    }


def test_what_is_not_wanted_any_longer_is_killed(client: Any, tmp_path: Path) -> None:
    cluster, pid = Cluster(client), tmp_path / "pid"
    write = f"open({str(pid)!r}, 'w').write(str(__import__('os').getpid())) and __import__('time').sleep(600)"
    outcomes = map_limited(eval, ["1", write], 1, 600, cluster)
    assert next(outcomes) == ("1", 1)
    until = time.monotonic() + 20
    while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    outcomes.close()
    while Path(f"/proc/{pid.read_text()}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_workers_that_cannot_do_the_work_are_refused(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(client)
    if os.path.isdir("/proc"):
        monkeypatch.setattr(os.path, "isdir", lambda path, real=os.path.isdir: path != "/proc/self" and real(path))
        cluster._expected = cluster._expected._replace(folders=("/proc/self",))
        with pytest.raises(UserError, match=r"worker tcp://.* sees no folder /proc/self; mount it there"):
            list(map_limited(abs, [-3], 1, 60, cluster))
    cluster._expected = cluster._expected._replace(version="7.0", folders=())
    with pytest.raises(UserError, match=r"worker tcp://.* has videonl 0\.\S+, and this is 7\.0; install the same"):
        list(map_limited(abs, [-3], 1, 60, cluster))  # one that joined later
    monkeypatch.setattr(engine, "__version__", "7.0")
    with pytest.raises(UserError, match=r"worker tcp://.* has videonl 0\.\S+, and this is 7\.0; install the same"):
        Cluster(client)
    monkeypatch.setattr(engine, "_VERSION", "None")
    with pytest.raises(UserError, match=r"worker tcp://.* has no videonl; install version 7\.0 there"):
        Cluster(client)


@pytest.mark.slow
def test_index_and_prepared_videos_are_those_of_one_machine(
    client: Any, video_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"here": ["--num-workers", "2"], "there": ["--cluster", address_of(client)]}
    for name, engine_words in words.items():
        out = tmp_path / name / "index.parquet"
        assert main(["index", str(video_folder), "--out", str(out), *engine_words]) == 0
        small = ["--short-side-px", "34", "--preset", "ultrafast"]
        assert main(["prepare", str(out), str(tmp_path / name / "out"), *small, *engine_words]) == 0
    assert (tmp_path / "here" / "index.parquet").read_bytes() == (tmp_path / "there" / "index.parquet").read_bytes()
    videos = {
        name: {
            path.relative_to(tmp_path / name): path.read_bytes() for path in sorted((tmp_path / name).rglob("*.mp4"))
        }
        for name in words
    }
    assert len(videos["here"]) == 7
    assert videos["here"] == videos["there"]


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at tcp://127.0.0.1:9 "),
        ("somewhere", "cluster must be tcp://HOST:PORT of a Dask scheduler, local:N, or a Python file with"),
        ("local:many", "needs a number of workers, such as local:4, got local:many"),
        ("local:0", "must be at least 1, got 0"),
        ("no.py", "no.py: no such file. Correct --cluster"),
        ("empty.py", "empty.py: has no function client() that returns a distributed.Client"),
        ("wrong.py", "wrong.py: client() returned a int, not a distributed.Client"),
        ("failing.py", "failing.py: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_cluster_is_refused_in_one_line(
    cluster: str,
    message: str,
    video_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "_CONNECT_SECONDS", 1)
    Path("empty.py").touch()
    Path("wrong.py").write_text("def client():\n    return 3\n")
    Path("failing.py").write_text("def client():\n    1 / 0\n")
    assert main(["index", str(video_folder), "--cluster", cluster]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_file_makes_the_client(client: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from distributed import Client\n"
        f"def client():\n    return Client({address_of(client)!r}, set_as_default=False)\n"
    )
    with joined(str(file)) as cluster:
        assert list(map_limited(abs, [-3], 1, 60, cluster)) == [(-3, 3)]


def test_without_dask_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match=r"^--cluster needs Dask: pip install 'videonl\[cluster\]'$"),
        joined("local:2"),
    ):
        pass
    with joined(None) as cluster:
        assert cluster is None


def test_workers_are_the_clusters_or_ours(video_folder: Path) -> None:
    with pytest.raises(UserError, match="--num-workers is for this machine"):
        index(str(video_folder), num_workers=3, cluster="local:2")
    with pytest.raises(UserError, match="--num-workers is for this machine"):
        prepare(video_folder, video_folder, num_workers=3, cluster="local:2")


def test_processes_end_when_a_worker_has_been_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_worker, "_IDLE_SECONDS", 0.1)
    pools = cluster_worker._Pools()
    worker = SimpleNamespace(id="one", state=SimpleNamespace(nthreads=1))
    with pools.used_by(worker, "math") as pool:
        time.sleep(0.3)
        assert pool.schedule(abs, args=[-3]).result() == 3
    until = time.monotonic() + 10
    while pool.active:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path, encode_video: Callable[..., Path]) -> None:
    for number in range(23):
        encode_video(tmp_path / "clips" / "ab"[number % 2] / f"{number}.mp4", num_frames=13 + number)
    (tmp_path / "clips" / "a" / "broken.mp4").write_bytes(b"no video" * 999)
    os.mkfifo(tmp_path / "clips" / "a" / "pipe.mp4")
    entries = read_source(str(tmp_path / "clips"))
    here = make_index(entries, tmp_path / "one" / "index.parquet")
    with (
        distributed.LocalCluster(
            2, threads_per_worker=1, memory_limit=0, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        pids = client.run(os.getpid)
        assert os.getpid() not in pids.values()
        killed = []

        def kill(done: int, total: int) -> None:
            if done == 5:
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        there = make_index(entries, tmp_path / "two" / "index.parquet", progress=kill, cluster=Cluster(client))
    assert len(killed) == 1
    assert there == here
    one, two = tmp_path / "one" / "index.parquet", tmp_path / "two" / "index.parquet"
    assert one.read_bytes() == two.read_bytes()
    assert read_index(two) == here


@pytest.mark.slow
def test_a_scheduler_that_ends_is_told(tmp_path: Path) -> None:
    with (
        distributed.LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        outcomes = map_limited(eval, ["1", *["__import__('time').sleep(600)"] * 5], 1, 900, Cluster(client))
        assert next(outcomes) == ("1", 1)
        workers.close()
        with pytest.raises(UserError, match=r"scheduler is gone; what is done is kept\. Repeat the command to resume"):
            next(outcomes)
