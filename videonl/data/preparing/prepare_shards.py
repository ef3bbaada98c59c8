"""Re-encodes the videos of an index into shards at a URL; of the result, no more than a few are ever on this disk."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from videonl.data.indexing.index_file import INDEX_NAME, IndexRow, read_index
from videonl.data.preparing.apart import refuse_mixing
from videonl.data.preparing.encoding import Encoding
from videonl.data.preparing.prepare import Failed, Job, names_of, sources_of, usable_records
from videonl.data.preparing.shard_run import PLAN, REPORT, Planned, ShardRun
from videonl.data.preparing.shards import in_order
from videonl.data.preparing.storing import read_json, store
from videonl.data.reading.segment import VideoPart, whole_of
from videonl.data.reading.url_path import UrlPath, Where
from videonl.data.sources.listing import Lister
from videonl.errors import UserError, require_within
from videonl.files import LOCK, locked, unfinished_of
from videonl.outputs import check_folder
from videonl.runtime.cluster import Cluster
from videonl.runtime.parallel import require_limits

_SETTINGS = "prepared.json"


class Engine(NamedTuple):
    """What re-encodes: processes of this machine, or a cluster's, with a time limit for each video."""

    num_workers: int = 2
    limit_seconds: float = 600
    cluster: Cluster | None = None


_HERE = Engine()


def prepare_shards(
    index: Path | str,
    output: UrlPath,
    work: Path,
    encoding: Encoding = Encoding(),
    shard_bytes: int = 256 * 10**6,
    engine: Engine = _HERE,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cut: bool = False,
) -> tuple[list[IndexRow], list[Failed]]:
    """Re-encodes the usable videos of an index into shards at a URL, with an index there that is written last.

    The shards are those that :func:`videonl.data.preparing.prepare.prepare` and
    :func:`videonl.data.preparing.shards.write_shards` make, byte for byte. Each is packed on this machine, copied, and
    deleted here. An interrupted run resumes after the shards that are there, with the videos that are encoded.

    Args:
        index: What ``videonl index`` wrote: a file, a folder with ``index.parquet``, or the URL of either.
        output: The folder to write: absent, empty, or of an earlier run with the same settings. If that run was of
            another index, its shards are replaced.
        work: A folder on this machine for what is done so far, with room for four shards: absent, empty, or of an
            earlier run. It is emptied in the end.
        encoding: How to re-encode.
        shard_bytes: A shard is closed when it has as many.
        engine: What re-encodes. Workers of a cluster see ``work`` by the same path.
        progress: Called with the number of videos done and the number of all, after each.
        cut: Pack a file for each segment, and nothing of what lies between.

    Returns:
        The records of the new index, in the order in which they are packed, and the videos that failed.

    Raises:
        UserError: The output or ``work`` holds something else, cannot be written, or lies among the sources; nothing is
            usable, or a number is out of range.
    """
    require_limits(engine.num_workers, engine.limit_seconds)
    require_within(1, shard_bytes=shard_bytes)
    check_folder(work)
    _require_ours(work)
    records = usable_records(index)
    sources = sources_of(records, index, cut)
    refuse_mixing(output, sources, records)
    if not work.name.startswith("."):  # which nobody takes for a class
        refuse_mixing(work, sources, records)
    settings = {**asdict(encoding), "shard_bytes": shard_bytes, "cut": cut}
    try:
        with locked(work / LOCK, f"{output} is being prepared"):
            _claim(output, settings)
            plan = _plan(records, sources, work / "files", encoding)
            digest = _digest(plan, str(output), settings)
            run = ShardRun(plan, output, work, shard_bytes, digest)
            report = read_json(UrlPath(f"{output}/{REPORT}"))
            if report and report["plan"] == digest:
                run.clear()
                return read_index(f"{output}/{INDEX_NAME}"), [Failed(*each) for each in report["failed"]]
            if engine.cluster is not None:
                here = (str(file) for source in sources if isinstance(file := whole_of(source), Path))
                engine.cluster.require_folder_of(here, work)
            run.work_through(engine, progress)
            return run.finish()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error}). What is done is kept; repeat the command.") from error


def _require_ours(work: Path) -> None:
    """Only what such a run has noted here is removed, in the end or for another run."""
    others = {path.name for path in work.iterdir()} - {LOCK, unfinished_of(work / PLAN).name} if work.is_dir() else ()
    if others and PLAN not in others:
        raise UserError(f"{work}: is not empty, and is not of an interrupted `videonl prepare`. Choose another --work.")


def _claim(output: UrlPath, settings: Mapping[str, Any]) -> None:
    """Makes the folder ours, or sees that it is: only then is anything in it replaced."""
    found = read_json(UrlPath(f"{output}/{_SETTINGS}"))
    if found is not None and found != settings:
        raise UserError(f"{output}: was prepared with other settings ({_SETTINGS}). Choose another folder.")
    if found is None:
        if _holds_something(output):
            raise UserError(f"{output}: is not empty, and was not prepared by videonl. Choose another folder.")
        try:
            store(json.dumps(settings, indent=2).encode() + b"\n", UrlPath(f"{output}/{_SETTINGS}"))
        except FileNotFoundError as error:
            raise UserError(f"{output}: there is no such bucket ({error}). Create it, or correct the URL.") from error


def _holds_something(output: UrlPath) -> bool:
    try:
        return any(map(len, Lister(output)(output)))
    except FileNotFoundError:
        return False


def _plan(
    records: Sequence[IndexRow], sources: Sequence[Where | VideoPart], files: Path, encoding: Encoding
) -> list[Planned]:
    names = names_of(sources)
    rows, source_of = [], {}
    for record, source in zip(records, sources, strict=True):
        # As in the index of what is prepared: what is cut has no segment any more.
        segment = dict.fromkeys(("start", "end", "start_frame", "end_frame")) if isinstance(source, VideoPart) else {}
        row = replace(record, path=names[source], **segment)  # type: ignore[arg-type]  # None is allowed
        rows.append(row)
        source_of[row.path] = (record, source)
    plan: list[Planned] = []
    for split, of_files in in_order(rows).items():
        for of_file in of_files:
            record, source = source_of[of_file[0].path]
            job = Job(record, source, files, f"{len(plan):09d}.mp4", encoding)
            plan.append(Planned(split, of_file, job))
    return plan


def _digest(plan: Sequence[Planned], output: str, settings: Mapping[str, Any]) -> str:
    """Another one for each other result."""
    digest = hashlib.blake2b(json.dumps([output, settings], sort_keys=True).encode(), digest_size=16)
    for planned in plan:
        digest.update(repr((planned.split, str(planned.job.source), planned.job.record.content_hash)).encode())
        digest.update(repr([(row.path, row.label, row.clip_id, str(row.segment)) for row in planned.rows]).encode())
    return digest.hexdigest()
