"""Encodes videos and packs them into shards at a URL, in the order of a plan, and resumes where it was interrupted."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from videonl.data.indexing.index_file import INDEX_NAME, IndexRow, write_index
from videonl.data.preparing.prepare import Failed, Job, encode_one, is_there, row_of
from videonl.data.preparing.shards import FIRST_NAME, is_ours, name_of_shard, write_shard
from videonl.data.preparing.storing import remove, store
from videonl.data.reading.fetching import Outage, fetch
from videonl.data.reading.segment import VideoPart
from videonl.data.reading.url_path import UrlPath
from videonl.data.sources.listing import Lister
from videonl.files import write_text
from videonl.runtime.cluster import Cluster
from videonl.runtime.parallel import map_limited

REPORT = "report.json"
PLAN = "plan.json"  # in the folder here, which is ours where this is
_MOST_WAITING = 2  # shards of videos that are encoded while one before them takes long


class Planned(NamedTuple):
    """A file of a shard.

    Attributes:
        split: The one whose shards it belongs to.
        rows: Its rows in the old index, whose paths are the new ones.
        job: How it is made; it has a name by its place in the plan.
    """

    split: str
    rows: Sequence[IndexRow]
    job: Job


class _Shard(NamedTuple):
    """A shard that is in the storage.

    Attributes:
        split: Whose it is.
        then: The place in the plan after its last file.
        rows: Of the new index.
        failed: The videos since the shard before it that are in none.
    """

    split: str
    then: int
    rows: list[IndexRow]
    failed: list[Failed]


class ShardRun:
    """Makes the shards of a plan.

    Args:
        plan: The files, split by split.
        output: The folder to write.
        work: A folder here, in which what is done so far is noted and encoded videos wait to be packed.
        shard_bytes: A shard is closed when it has as many.
        digest: Another one for each other plan.
    """

    def __init__(self, plan: Sequence[Planned], output: UrlPath, work: Path, shard_bytes: int, digest: str) -> None:
        self._plan, self._output, self._shard_bytes, self._digest = plan, output, shard_bytes, digest
        self._work, self._files, self._notes, self._mine = (
            work,
            work / "files",
            work / "shards.jsonl",
            work / PLAN,
        )
        self._shards: list[_Shard] = []
        self._place = 0  # of the next file to pack
        self._ready: dict[int, IndexRow | Failed] = {}
        self._part: dict[int, list[IndexRow]] = {}  # the files of the next shard
        self._failed: list[Failed] = []

    def work_through(self, engine: tuple[int, float, Cluster | None], progress: Callable[[int, int], None]) -> None:
        """Makes the shards that are not there yet.

        Args:
            engine: As :func:`videonl.runtime.parallel.map_limited` takes it.
            progress: Called with the number of videos done and the number of all, after each.

        Raises:
            UserError: A storage does not answer any more.
        """
        self._resume()
        outage = Outage()
        while self._place < len(self._plan):
            for job, outcome in map_limited(encode_one, self._jobs(), *engine):
                place = int(Path(job.name).stem)
                if isinstance(outcome, IndexRow):
                    write_text(self._note(place), json.dumps(asdict(outcome)))
                    self._ready[place] = outcome
                else:
                    self._ready[place] = Failed(str(job.source), outcome.reason)
                self._pack()
                progress(self._place + len(self._ready), len(self._plan))
                outage.see(outcome.reason)
            self._pack()

    def finish(self) -> tuple[list[IndexRow], list[Failed]]:
        """Writes the index, removes shards that are not in it, and says that all is done."""
        rows = [row for shard in self._shards for row in shard.rows]
        failed = [each for shard in self._shards for each in shard.failed] + self._failed
        write_index(self._work / INDEX_NAME, rows)
        store(self._work / INDEX_NAME, self._at(INDEX_NAME))
        self._remove_other_shards({row.shard for row in rows})
        store(json.dumps({"plan": self._digest, "failed": failed}, indent=2).encode(), self._at(REPORT))
        self.clear()
        return rows, failed

    def _resume(self) -> None:
        """Takes up what an interrupted run of the same plan left; what another one left is removed."""
        if not self._mine.exists() or json.loads(self._mine.read_text()) != self._digest:
            self.clear()
            for name in (REPORT, INDEX_NAME):  # which would point into other shards
                remove(self._at(name))
            write_text(self._mine, json.dumps(self._digest))
        self._files.mkdir(exist_ok=True)
        self._shards = list(_read(self._notes))
        self._place = self._shards[-1].then if self._shards else 0

    def _jobs(self) -> Iterator[Job]:
        """What is to be encoded, in the order of the plan, as long as there is room for it."""
        for place in range(self._place, len(self._plan)):
            if place in self._ready or self._was_encoded(place):
                continue
            waiting_bytes = sum(row.num_bytes or 0 for row in self._ready.values() if isinstance(row, IndexRow))
            if place > self._place and waiting_bytes > _MOST_WAITING * self._shard_bytes:
                return
            yield self._plan[place].job

    def _was_encoded(self, place: int) -> bool:
        if not self._note(place).exists():
            return False
        row = IndexRow(**json.loads(self._note(place).read_text()))
        if is_there(row, self._plan[place].job):
            self._ready[place] = row
        return place in self._ready

    def _pack(self) -> None:
        """Packs what is ready, up to the first that is not."""
        while (outcome := self._ready.pop(self._place, None)) is not None:
            planned = self._plan[self._place]
            if isinstance(outcome, Failed):
                self._failed.append(outcome)
            else:
                is_cut = isinstance(planned.job.source, VideoPart)
                rows = [row_of(row, replace(outcome, path=row.path), is_cut) for row in planned.rows]
                self._part[self._place] = rows
            self._place += 1
            ends = self._place == len(self._plan) or self._plan[self._place].split != planned.split
            num_bytes = sum(rows[0].num_bytes or 0 for rows in self._part.values())
            if self._part and (ends or num_bytes >= self._shard_bytes):
                self._close(planned.split)

    def _close(self, split: str) -> None:
        """Packs a shard, copies it to the storage, and forgets its files."""
        name = name_of_shard(split, sum(shard.split == split for shard in self._shards))
        files = [self._files / self._plan[place].job.name for place in self._part]
        rows = write_shard(self._work / name, list(zip(files, self._part.values(), strict=True)))
        store(self._work / name, self._at(name))
        with self._notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps([split, self._place, [asdict(row) for row in rows], self._failed]) + "\n")
        self._shards.append(_Shard(split, self._place, rows, self._failed))
        for path in (self._work / name, *files, *map(self._note, self._part)):
            path.unlink(missing_ok=True)
        self._part, self._failed = {}, []

    def _remove_other_shards(self, written: set[str]) -> None:
        for file in Lister(self._output)(self._output)[0]:
            is_candidate = file.name not in written and is_ours(file.name, FIRST_NAME)
            if is_candidate and is_ours(file.name, fetch(file.url, 0, len(FIRST_NAME))):
                remove(file)

    def clear(self) -> None:
        """Removes what was noted and encoded here."""
        shutil.rmtree(self._files, ignore_errors=True)
        for path in (self._notes, self._work / INDEX_NAME, *self._work.glob("*.tar"), self._mine):  # that last
            path.unlink(missing_ok=True)

    def _note(self, place: int) -> Path:
        return self._files / f"{place:09d}.json"

    def _at(self, name: str) -> UrlPath:
        return UrlPath(f"{self._output}/{name}")


def _read(notes: Path) -> Iterator[_Shard]:
    """The shards that were noted; a last line that was cut off is one that was not."""
    if not notes.exists():
        return
    whole = notes.read_bytes().rpartition(b"\n")[0]
    notes.write_bytes(whole + b"\n" if whole else b"")
    for line in whole.splitlines():
        split, then, rows, failed = json.loads(line)
        yield _Shard(split, then, [IndexRow(**row) for row in rows], [Failed(*each) for each in failed])
