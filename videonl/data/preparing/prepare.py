"""Re-encodes the videos of an index into a folder with an index of its own."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from videonl.data.indexing.facts import Task, examine
from videonl.data.indexing.fingerprint import file_key, place_key
from videonl.data.indexing.index_file import INDEX_NAME, IndexRow, file_of, read_index, write_index
from videonl.data.indexing.journal import Journal
from videonl.data.indexing.segments import frames_of
from videonl.data.preparing.apart import refuse_mixing
from videonl.data.preparing.encoding import Encoding, encode
from videonl.data.reading.fetching import NOT_FETCHED, Outage
from videonl.data.reading.segment import VideoPart, as_file_name, whole_of
from videonl.data.reading.shard_reader import at_hand
from videonl.data.reading.url_path import Where, absolute
from videonl.data.reading.video_reader import DecodingError
from videonl.errors import UserError
from videonl.files import LOCK, locked, unfinished_of, write_text
from videonl.outputs import check_folder, refuse_inputs
from videonl.runtime.cluster import Cluster
from videonl.runtime.parallel import NoResult, map_limited, require_limits

_SETTINGS_NAME = "prepared.json"


class Job(NamedTuple):
    """A video, or a part that is cut: its record, where it is, the folder to write to, the name there, and how."""

    record: IndexRow
    source: Where | VideoPart
    folder: Path
    name: str
    encoding: Encoding

    @property
    def file(self) -> Where:
        """The file that is read."""
        return absolute(whole_of(self.source))


class Failed(NamedTuple):
    """A video that could not be re-encoded, and why."""

    path: str
    reason: str


def prepare(
    index: Path | str,
    output: Path,
    encoding: Encoding = Encoding(),
    num_workers: int = 2,
    limit_seconds: float = 600,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cut: bool = False,
    cluster: Cluster | None = None,
) -> tuple[list[IndexRow], list[Failed]]:
    """Re-encode the usable videos of an index as ``output/CLASS/NAME.mp4``, with ``output/index.parquet``.

    A video of which the index names segments is re-encoded once, whole, and its segments stay those of the index, or
    each becomes a file of its own.

    Files of an earlier run, finished or not, are kept if neither source nor settings have changed. The sources are
    only read. Paths in the new index are relative, so the folder may move.

    Args:
        index: What ``videonl index`` wrote: a file, a folder with ``index.parquet``, or the URL of either.
        output: The folder to write: absent, empty, or of an earlier run with the same settings.
        encoding: How to re-encode.
        num_workers: Number of processes.
        limit_seconds: Time for each video.
        progress: Called with the number of videos done and the number of all, after each.
        cut: Write a file for each segment, and nothing of what lies between.
        cluster: Whose workers re-encode, instead of processes of this machine; they see sources and output by the same
            paths.

    Returns:
        The records of the new index, in the order of the old one, and the videos that failed.

    Raises:
        UserError: The folder holds sources or something else, nothing is usable, or a number is out of range.
    """
    require_limits(num_workers, limit_seconds)
    records = usable_records(index)
    sources = sources_of(records, index, cut)
    here = [file for source in sources if isinstance(file := whole_of(source), Path)]
    check_folder(output)
    refuse_mixing(output, sources, records)
    refuse_inputs([output / INDEX_NAME], [Path(file_of(index))])
    try:
        with locked(output / LOCK, f"{output} is being prepared"):
            _claim(output, {**asdict(encoding), **({"cut": True} if cut else {})})
            if cluster is not None:
                cluster.require_folder_of(map(str, here), output)
            names = names_of(sources)
            jobs = {
                str(source): Job(record, source, output, names[source], encoding)
                for record, source in zip(records, sources, strict=True)
            }
            engine = (num_workers, limit_seconds, cluster)
            done, failed = _work_through(jobs, output, engine, progress)
            rows = [
                row_of(record, done[str(source)], is_cut=isinstance(source, VideoPart))
                for record, source in zip(records, sources, strict=True)
                if str(source) in done
            ]
            write_index(output / INDEX_NAME, rows)
            Journal.beside(output / INDEX_NAME).delete()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error}). Free space there, or name another folder.") from error
    return rows, failed


def usable_records(index: Path | str) -> list[IndexRow]:
    """What can be prepared of an index.

    Raises:
        UserError: Nothing can.
    """
    records = [record for record in read_index(index) if record.usable]
    if not records or any(record.shard for record in records):
        raise UserError(f"{index}: has no video files to prepare. See: videonl doctor {index}")
    return records


def sources_of(records: Sequence[IndexRow], index: Path | str, cut: bool) -> list[Where | VideoPart]:
    """What is encoded for each record: a file, or the part that it is about where parts are cut."""
    files = [absolute(record.file_location(index)) for record in records]
    parts = [record.segment if cut else None for record in records]
    return [file if part is None else VideoPart(file, part) for file, part in zip(files, parts, strict=True)]


def _work_through(
    jobs: dict[str, Job],
    output: Path,
    engine: tuple[int, float, Cluster | None],
    progress: Callable[[int, int], None],
) -> tuple[dict[str, IndexRow], list[Failed]]:
    """Encode what is not there yet: records by source, and what failed."""
    journal = Journal.beside(output / INDEX_NAME)
    finished = read_index(output / INDEX_NAME) if (output / INDEX_NAME).exists() else []
    done = {
        record.source_path: record
        for record in [*finished, *journal.read()]
        if record.source_path in jobs and is_there(record, jobs[record.source_path])
    }
    failed = []
    outage = Outage()
    with journal.writing():
        remaining = [job for path, job in jobs.items() if path not in done]
        for job, outcome in map_limited(encode_one, remaining, *engine):
            if isinstance(outcome, IndexRow):
                done[str(job.source)] = outcome
                journal.append(outcome)
            else:
                failed.append(Failed(str(job.source), outcome.reason))
                unfinished_of(job.folder / job.name).unlink(missing_ok=True)  # a process that was killed leaves it
            progress(len(done) + len(failed), len(jobs))
            outage.see(outcome.reason)
    return done, failed


def encode_one(job: Job) -> IndexRow | NoResult:
    """Does a job, in a worker process."""
    target = job.folder / job.name
    try:
        if place_key(job.file) != (job.record.num_bytes, job.record.modified_ns, job.record.version):
            return NoResult("has changed since it was indexed; index it again")
        assert job.record.num_frames is not None
        frames = frames_of(job.record) if isinstance(job.source, VideoPart) else None
        with at_hand(job.file) as file:
            encoded = encode(file, target, job.encoding, job.record.num_frames, frames)
    except DecodingError as error:
        return NoResult(error.reason)
    except FileNotFoundError as error:
        if isinstance(job.file, Path) and error.filename != str(job.file):
            raise
        return NoResult("no such file")
    except OSError as error:
        if isinstance(job.file, Path):
            raise
        return NoResult(f"{NOT_FETCHED} ({error})")
    return replace(
        examine(Task(target, job.record.checked or "decode")),  # type: ignore[arg-type]  # a Check, from an index
        path=job.name,
        source_path=str(job.source),
        source_hash=job.record.content_hash,
        psnr_db=encoded.psnr_db,
    )


def row_of(record: IndexRow, prepared: IndexRow, is_cut: bool) -> IndexRow:
    """What the new index says of a row of the old one, given what was prepared."""
    if is_cut:  # what it was cut from stays known: its clips belong into one split
        return replace(prepared, label=record.label, split=record.split, clip_id=record.clip_id or record.content_hash)
    segment = record.segment.columns() if record.segment else {}
    return replace(prepared, label=record.label, split=record.split, clip_id=record.clip_id, **segment)  # type: ignore[arg-type]  # by their names


def is_there(record: IndexRow, job: Job) -> bool:
    """Whether a job has been done, and neither its source nor its result has changed since."""
    try:
        size, modified_ns = file_key(job.folder / record.path)
    except OSError:
        return False
    same_source = record.source_hash == job.record.content_hash and record.path == job.name
    return same_source and (size, modified_ns) == (record.num_bytes, record.modified_ns)


def names_of(sources: Sequence[Where | VideoPart]) -> dict[Where | VideoPart, str]:
    """Names below the new folder: the old ones below the folder that all share, ending in ``.mp4``.

    Those of parts say which: ``match_t11.9-21.2.mp4``.
    """
    # A URL may have another folder of that name: as a path below the root of all it has its scheme before it.
    old = {source: Path("/", as_file_name(source)) for source in sources}
    shared = Path(os.path.commonpath([path.parent for path in old.values()]))
    below = {source: PurePosixPath(path.relative_to(shared).as_posix()) for source, path in old.items()}
    names = {source: str(name.with_suffix(".mp4")) for source, name in below.items()}
    num_uses = Counter(name.lower() for name in names.values())  # file systems may not tell capitals apart
    # a.avi and a.mov would both become a.mp4.
    return {source: name if num_uses[name.lower()] == 1 else f"{below[source]}.mp4" for source, name in names.items()}


def _claim(output: Path, asked: Mapping[str, Any]) -> None:
    """Make the folder ours, or see that it is: only then is anything in it replaced."""
    settings = output / _SETTINGS_NAME
    if settings.exists():
        if json.loads(settings.read_text(encoding="utf-8")) != asked:
            raise UserError(f"{output}: was prepared with other settings ({settings}). Choose another folder.")
        return
    if any(path.name != LOCK for path in output.iterdir()):
        raise UserError(f"{output}: is not empty, and was not prepared by videonl. Choose another folder.")
    write_text(settings, json.dumps(asked, indent=2) + "\n")
