"""A Dask cluster as the engine of :func:`videonl.runtime.parallel.map_limited`."""

import contextlib
import importlib.util
import logging
import os
import runpy
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from videonl import __version__
from videonl.errors import MOST_WORKERS, UserError, require_within
from videonl.runtime.cluster_worker import Expected, limited, no_folder
from videonl.runtime.parallel import CRASHED, NoResult
from videonl.runtime.progress import tell

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOCAL = "local:"
_CONNECT_SECONDS = 10
_LOOK_SECONDS = 5  # how often the workers are counted
_PATIENCE_SECONDS = 30  # without workers, before that is said
# Only builtins: a worker without videonl could not even be sent a function of it.
_VERSION = "__import__('videonl').__version__ if __import__('importlib.util').util.find_spec('videonl') else None"


class Cluster:
    """Workers, on any machines, that work through the items of a map.

    Args:
        client: Connected to their scheduler.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._expected = Expected(__version__, ())
        self._num_threads = 0
        self._looked = -float(_LOOK_SECONDS)
        self._await_workers()
        self._require_version()

    def require_folder_of(self, files: Iterable[str], *others: Path) -> None:
        """Checks that every worker sees the folder that all files lie in, and others; also before each item.

        Args:
            files: Absolute paths.
            others: Further folders, which exist.

        Raises:
            UserError: Naming the worker, and the folder that it does not see.
        """
        parents = {os.path.dirname(file) for file in files}
        shared = [os.path.commonpath(parents)] if parents else []
        folders = [folder for folder in (*shared, *map(os.path.abspath, others)) if os.path.isdir(folder)]
        for folder in folders:
            for worker, is_seen in self._client.run(os.path.isdir, folder).items():
                if not is_seen:
                    raise UserError(no_folder(worker, folder))
        self._expected = self._expected._replace(folders=tuple(folders))

    def map_limited(
        self, function: Callable[[Item], Result], items: Iterable[Item], limit_seconds: float
    ) -> Iterator[tuple[Item, Result | NoResult]]:
        """As :func:`videonl.runtime.parallel.map_limited`; items of workers that are lost go to others.

        Raises:
            UserError: The scheduler is gone, or a worker that joined later cannot do the work.
        """
        from distributed import as_completed

        remaining = iter(items)
        pending: dict[Future, Item] = {}
        completed = as_completed(loop=self._client.loop)
        try:
            while True:
                for item in islice(remaining, max(0, 2 * self._count_threads() - len(pending))):
                    arguments = (function, item, limit_seconds, self._expected)
                    future = self._client.submit(limited, *arguments, pure=False)
                    pending[future] = item
                    completed.add(future)
                if not pending:
                    break
                future = self._next(completed)
                yield pending.pop(future), self._outcome(future)
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone has nothing to be canceled
                self._client.cancel(list(pending))

    def _next(self, completed: Any) -> "Future":
        """The next future that is done; without workers there is none, which is said."""
        since = time.monotonic()
        while not completed.has_ready():
            if self._count_threads():
                since = time.monotonic()
            elif time.monotonic() - since > _PATIENCE_SECONDS:
                tell("the cluster has no workers left; waiting for others")
                since = time.monotonic()
            time.sleep(0.01)
        done: Future = next(completed)
        return done

    def _outcome(self, future: "Future") -> Any:
        from distributed import KilledWorker

        if future.status in ("cancelled", "lost"):
            self._refuse_lost()
        try:
            return future.result()
        except KilledWorker:
            return NoResult(f"{CRASHED} (several workers of the cluster were lost with it)")
        except ModuleNotFoundError as error:
            raise UserError(f"a worker of the cluster cannot run videonl ({error}); {self._remedy()}") from error

    def _refuse_lost(self) -> NoReturn:
        raise UserError("the cluster's scheduler is gone; what is done is kept. Repeat the command to resume")

    def _count_threads(self) -> int:
        if self._client.status not in ("running", "connecting"):
            self._refuse_lost()
        if self._client.status == "running" and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._num_threads = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return self._num_threads

    def _await_workers(self) -> None:
        if not self._count_threads():
            tell("the cluster has no workers yet; waiting for the first one")
            self._client.wait_for_workers(1)

    def _require_version(self) -> None:
        for worker, version in self._client.run(eval, _VERSION).items():
            if version is None:
                raise UserError(f"worker {worker} of the cluster has no videonl; {self._remedy()}")
            if version != self._expected.version:
                raise UserError(self._expected.refusal(worker, version))

    def _remedy(self) -> str:
        return f"install version {self._expected.version} there, as here"


@contextlib.contextmanager
def joined(cluster: str | None) -> Iterator[Cluster | None]:
    """Connects to a cluster, and leaves it in the end.

    Args:
        cluster: ``tcp://HOST:PORT`` of a scheduler; ``local:N`` for N workers on this machine; or a Python file, which
            is run, with a function ``client`` that returns a :class:`distributed.Client`. None is no cluster.

    Yields:
        The cluster, when it has workers.

    Raises:
        UserError: Dask is not installed, nobody answers, the file makes no client, or a worker has another version.
    """
    if cluster is None:
        yield None
        return
    if importlib.util.find_spec("distributed") is None:
        raise UserError("--cluster needs Dask: pip install 'videonl[cluster]'")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it logs what is raised or mended here as well
    with _client(cluster) as client:
        yield Cluster(client)


def _client(cluster: str) -> "contextlib.AbstractContextManager[Client]":
    if cluster.startswith(_LOCAL):
        return _local(cluster.removeprefix(_LOCAL))
    if "://" in cluster:
        return _connected(cluster)
    if cluster.endswith(".py"):
        return _made_by(Path(cluster).expanduser())
    raise UserError(
        f"cluster must be tcp://HOST:PORT of a Dask scheduler, local:N, or a Python file with a function client(), "
        f"got {cluster!r}"
    )


@contextlib.contextmanager
def _local(number: str) -> "Iterator[Client]":
    from distributed import Client, LocalCluster

    if not number.isdecimal():
        raise UserError(f"cluster local:N needs a number of workers, such as local:4, got {_LOCAL}{number}")
    require_within(1, MOST_WORKERS, **{"the number of workers of --cluster local:N": int(number)})
    # What takes memory are the processes that a worker starts, which Dask does not count.
    options = {"threads_per_worker": 1, "memory_limit": 0, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(int(number), **options) as workers, Client(workers, set_as_default=False) as client:
        yield client


@contextlib.contextmanager
def _connected(address: str) -> "Iterator[Client]":
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`, and its workers with "
            "`dask worker`"
        ) from error
    with client:
        yield client


@contextlib.contextmanager
def _made_by(file: Path) -> "Iterator[Client]":
    from distributed import Client

    if not file.is_file():
        raise UserError(f"{file}: no such file. Correct --cluster")
    try:
        make = runpy.run_path(str(file)).get("client")
        if not callable(make):
            raise UserError(f"{file}: has no function client() that returns a distributed.Client")
        made = make()
    except UserError:
        raise
    except Exception as error:  # any that a user's code may raise
        raise UserError(f"{file}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Client):
        raise UserError(f"{file}: client() returned a {type(made).__name__}, not a distributed.Client")
    with made:
        yield made
