"""Makes the index of a data set: examines every file once, and stores the result."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from videonl.data.indexing.facts import Check, Task, examine
from videonl.data.indexing.fingerprint import place_key
from videonl.data.indexing.index_file import IndexRow, path_for, write_index
from videonl.data.indexing.journal import Journal
from videonl.data.indexing.known import known_records
from videonl.data.indexing.segments import num_frames_of
from videonl.data.reading.fetching import Outage
from videonl.data.reading.segment import COLUMNS, NO_FRAMES, segment_of, whole_of
from videonl.data.reading.url_path import absolute, where
from videonl.data.sources.entry import LabeledPath
from videonl.errors import UserError
from videonl.files import LOCK, locked
from videonl.outputs import check_file
from videonl.runtime.cluster import Cluster
from videonl.runtime.parallel import NoResult, map_limited, require_limits

Progress = Callable[[int, int], None]


def make_index(
    entries: Sequence[LabeledPath],
    output: Path,
    check: Check = "compare",
    num_workers: int = 2,
    limit_seconds: float = 60,
    progress: Progress = lambda done, total: None,
    cluster: Cluster | None = None,
) -> list[IndexRow]:
    """Examine the files of a source and write ``output``, completely or not at all.

    Results of an earlier run, finished or not, for this index or another in its folder, are kept for files with the
    same path, size and modification time, or at a URL the same tag; results of version 0.1 are not.

    Args:
        entries: The videos.
        output: The index, ``*.parquet``.
        check: How thoroughly; see :class:`videonl.data.indexing.facts.Task`.
        num_workers: Number of processes.
        limit_seconds: Time for each file; one that takes longer is broken.
        progress: Called with the number of files examined and the number of all, after each.
        cluster: Whose workers examine the files, instead of processes of this machine; they see them by the same paths,
            and reach the same URLs.

    Returns:
        One record for each entry, in their order.

    Raises:
        UserError: The output cannot be written, the name of a file is not UTF-8, a number is out of range, or a storage
            does not answer any more.
    """
    require_limits(num_workers, limit_seconds)
    journal = Journal.beside(output)
    places = [absolute(whole_of(entry.path)) for entry in entries]
    located = [_text(str(place)) for place in places]
    files = dict(zip(located, places, strict=True))
    here = [file for file in files.values() if isinstance(file, Path)]
    check_file(output, here)
    if cluster is not None:
        cluster.require_folder_of(map(str, here))
    try:
        with locked(output.with_name(f"{output.name}{LOCK}"), f"{output} is being written"):
            known = known_records(files, output, check)
            with journal.writing():
                new = [Task(file, check) for path, file in files.items() if path not in known]
                outage = Outage()
                for done, record in enumerate(
                    _examine_all(new, num_workers, limit_seconds, cluster), start=len(known) + 1
                ):
                    known[record.path] = record
                    journal.append(record)
                    progress(done, len(files))
                    outage.see(record.reason)
            records = [_row(entry, known[path], output) for entry, path in zip(entries, located, strict=True)]
            write_index(output, records)
            journal.delete()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error}). Name another place: --out.") from error
    return records


def _text(path: str) -> str:
    """The path, which the index keeps as text; names in other encodings come from old archives."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UserError(f"{shown}: the name is not valid UTF-8, which an index requires. Rename it.") from error
    return path


def _examine_all(
    tasks: Iterable[Task], num_workers: int, limit_seconds: float, cluster: Cluster | None
) -> Iterable[IndexRow]:
    failed = []
    for task, outcome in map_limited(examine, tasks, num_workers, limit_seconds, cluster):
        if isinstance(outcome, NoResult) and task.check == "compare":
            failed.append(task._replace(check="decode"))  # it may have been another decoder than the one that counts
        else:
            yield _stopped(task, outcome) if isinstance(outcome, NoResult) else outcome
    for task, outcome in map_limited(examine, failed, num_workers, limit_seconds, cluster):
        record = _stopped(task, outcome) if isinstance(outcome, NoResult) else outcome
        yield replace(record, checked="compare")


def _stopped(task: Task, outcome: NoResult) -> IndexRow:
    record = IndexRow(str(task.path), label="", status="broken", reason=outcome.reason, checked=task.check)
    try:
        num_bytes, modified_ns, version = place_key(task.path)
    except OSError:
        return record
    return replace(record, num_bytes=num_bytes, modified_ns=modified_ns, version=version)


def _row(entry: LabeledPath, facts: IndexRow, output: Path) -> IndexRow:
    segment = segment_of(entry.path)
    row = replace(
        facts,
        path=path_for(output, where(facts.path)),
        label=entry.label or "",
        split=entry.split,
        clip_id=entry.clip_id,
        **(segment.columns() if segment else dict.fromkeys(COLUMNS)),
    )
    if row.usable and segment and not num_frames_of(row):
        length = f"{row.num_frames} frames in {row.duration_seconds or 0:.3f} s"
        return replace(row, status="broken", reason=f"{NO_FRAMES}; the video has {length}")
    return row
