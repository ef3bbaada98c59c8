"""The processes of a command, on any machines, that share out its work and end together.

Nothing but a store of keys connects them, which process 0 serves, or torchrun; no tensors and no collective operations.
Whoever is free takes the next item, so that neither long videos nor slow GPUs hold up the others::

    0 --- next? ---> store <--- next? --- 1
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch.distributed

from videonl.errors import UserError
from videonl.runtime.launched import Launched
from videonl.runtime.watch import Watch

Item = TypeVar("Item")
MEETING_SECONDS = 600.0  # that processes wait for each other at the start
SEEING_SECONDS = 10.0  # until a file of one machine shows on the disk of another
_POLL_SECONDS = 0.05


class _Store(Protocol):
    """What is used of ``torch.distributed.Store``, which has no types of its own."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def add(self, key: str, amount: int) -> int: ...
    def check(self, keys: list[str]) -> bool: ...


class Ranks:
    """The processes of a command as one of them sees them; by default there is just one.

    All must call the same methods in the same order.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        local_rank: Number of this process on its machine.
        store: What connects them; None where there is one.
    """

    def __init__(self, rank: int = 0, world_size: int = 1, local_rank: int = 0, store: _Store | None = None) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self._store = store
        self._num_done = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def told(self, name: str, value: Item) -> Item:
        """What process 0 gives, in every process: plain data.

        Args:
            name: A new one for each call.
            value: What process 0 gives.
        """
        if self._store is None:
            return value
        if self.is_first:
            self._store.set(name, json.dumps(value))
            return value
        self._wait([name])
        told: Item = json.loads(self._store.get(name))
        return told

    def require_same(self, **asked: str) -> None:
        """Checks that all processes are asked for the same; process 0 goes on when all have checked.

        Raises:
            UserError: This one is asked for something else than process 0; it names what.
        """
        for name, theirs in self.told("asked", asked).items():
            if asked.get(name) != theirs:
                raise UserError(
                    f"its {name} are not those of process 0. Give all processes the same command, and the same files"
                )
        self.reports("same", asked)

    def begin(self, lock: Path) -> None:
        """Lets the others begin, where process 0 calls it; there they wait for it.

        Args:
            lock: A file of process 0's in the folder that all write to.

        Raises:
            UserError: This process does not see it.
        """
        word = secrets.token_hex()
        if self._store is not None and self.is_first:
            lock.write_text(word)
        word = self.told("word", word)
        if not self.is_first and not appears(lambda: lock.read_text() == word):
            raise UserError(
                f"{lock.parent} is not the folder that process 0 writes to. Name one on a disk that all machines see, "
                "by the same path"
            )

    def shared(self, items: Sequence[Item]) -> Iterator[Item]:
        """Those items that fall to this process, each when it asks for it; all processes must have the same items."""
        if self._store is None:
            yield from items
            return
        while (place := self._store.add("taken", 1) - 1) < len(items):
            yield items[place]

    def count(self, num_done: int = 1) -> int:
        """Counts items that this process has done; returns how many all of them have."""
        if self._store is not None:
            return self._store.add("done", num_done)
        self._num_done += num_done
        return self._num_done

    def reports(self, name: str, own: Item, meanwhile: Callable[[], None] = lambda: None) -> list[Item]:
        """What each process says, by rank, when all have said it; processes other than 0 do not wait for the rest.

        Args:
            name: A new one for each call.
            own: What this one says, as plain data.
            meanwhile: Is called while process 0 waits, and in the end.
        """
        if self._store is None:
            return [own]
        if not self.is_first:
            self._store.set(f"{name}/{self.rank}", json.dumps(own))
            return [own]
        others = [f"{name}/{rank}" for rank in range(1, self.world_size)]
        self._wait(others, meanwhile)
        meanwhile()
        return [own, *(json.loads(self._store.get(other)) for other in others)]

    def _wait(self, names: list[str], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Waits without end: the watch ends this process when another one is gone. Signals are answered meanwhile."""
        assert self._store is not None
        while not self._store.check(names):
            meanwhile()
            time.sleep(_POLL_SECONDS)


ALONE = Ranks()


def appears(is_there: Callable[[], bool], seconds: float | None = None) -> bool:
    """Whether something shows on the disk in time; until then it may fail to be read."""
    until = time.monotonic() + (SEEING_SECONDS if seconds is None else seconds)
    while True:
        with suppress(OSError, ValueError):
            if is_there():
                return True
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_SECONDS)


def meet(place: Launched) -> tuple[Ranks, Watch]:
    """Connects the processes.

    Raises:
        UserError: There is no such machine, its port is taken, or not all have come in time.
    """
    where = f"{place.host}:{place.port}"
    try:
        store = _store(place)
        ranks = Ranks(place.rank, place.world_size, place.local_rank, store)
        store.add("here", 1)
        if not appears(lambda: store.add("here", 0) >= place.world_size, MEETING_SECONDS):
            raise UserError(
                f"only {store.add('here', 0)} of {place.world_size} processes came to {where} within "
                f"{MEETING_SECONDS:g} seconds. Check that all were started"
            )
        return ranks, _watch(ranks, place)
    except (RuntimeError, OSError) as error:  # torch's own are of the first kind
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"process {place.rank} cannot be connected at {where} ({reason}). If another program has this port, choose "
            "another MASTER_PORT"
        ) from error


def _watch(ranks: Ranks, place: Launched) -> Watch:
    watch = Watch(place.rank, place.world_size, place.local_rank)
    port, word = ranks.told("watch", watch.listen() if ranks.is_first else (0, ""))
    if ranks.is_first:
        watch.accept()
    else:
        watch.connect(place.host, port, word)
    return watch


def _store(place: Launched) -> _Store:
    """A server in process 0, where torchrun has none of its own; else a client, as soon as there is a server."""
    try:
        socket.getaddrinfo(place.host, place.port)
    except OSError as error:
        raise UserError(f"{place.host}: no machine has this name ({error}). Correct MASTER_ADDR") from error
    is_server = place.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not is_server and not appears(lambda: _answers(place), MEETING_SECONDS):
        raise UserError(
            f"process 0 does not answer at {place.host}:{place.port}, after {MEETING_SECONDS:g} seconds. Check that it "
            "was started, and that the others can reach this port of its machine"
        )
    prefix = f"videonl/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    kinds: Any = torch.distributed  # which exports these without types
    options = {"timeout": timedelta(seconds=60), "wait_for_workers": False}
    store: _Store = kinds.PrefixStore(
        prefix, kinds.TCPStore(place.host, place.port, place.world_size, is_server, **options)
    )
    return store


def _answers(place: Launched) -> bool:
    with socket.create_connection((place.host, place.port), timeout=5):
        return True
