"""What earlier runs found out about files, so that none is examined twice."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from videonl.data.indexing.facts import CANNOT_BE_READ, Check
from videonl.data.indexing.fingerprint import file_key
from videonl.data.indexing.index_file import IndexRow, is_index_schema, read_index
from videonl.data.indexing.journal import JOURNAL_SUFFIX, Journal
from videonl.data.reading.segment import NO_FRAMES
from videonl.runtime.parallel import CRASHED, OUT_OF_TIME

# A slow disk, a permission, too little memory: the file may do another time, and nothing of it need change for that.
PASSING = (OUT_OF_TIME, CRASHED, CANNOT_BE_READ)


def known_records(paths: Iterable[str], output: Path, check: Check) -> dict[str, IndexRow]:
    """What the index, others in its folder, and their journals say of unchanged files, by absolute path.

    Args:
        paths: The absolute paths of the files asked about.
        output: The index that is made; what it and its journal say comes before what others say.
        check: How thoroughly the files must have been examined.

    Raises:
        UserError: There is an ``output`` that is no index.
    """
    found = [
        record
        for source in (_others(output), _of_index(output) if output.exists() else (), Journal.beside(output).read())
        for record in source
    ]
    kept = {os.path.abspath(record.path): record for record in found if record.checked == check and not record.shard}
    return {path: kept[path] for path in paths if path in kept and _still_holds(kept[path])}


def _others(output: Path) -> Iterator[IndexRow]:
    for path in sorted(output.parent.glob("*.parquet")):
        if path != output and _is_ours(path):
            yield from _of_index(path)
    for path in sorted(output.parent.glob(f"*{JOURNAL_SUFFIX}")):
        with suppress(OSError, ValueError, TypeError):  # one of another version
            yield from Journal(path).read()


def _is_ours(path: Path) -> bool:
    try:
        return is_index_schema(pq.read_schema(path))
    except (OSError, ValueError, pa.ArrowException):
        return False


def _of_index(path: Path) -> Iterator[IndexRow]:
    for record in read_index(path):
        yield replace(record, path=str(record.file_location(path)))


def _still_holds(record: IndexRow) -> bool:
    if record.reason.startswith((*PASSING, NO_FRAMES)) or _is_of_version_0_1(record):
        return False
    try:
        return file_key(Path(record.path)) == (record.num_bytes, record.modified_ns)
    except OSError:
        return False


def _is_of_version_0_1(record: IndexRow) -> bool:
    """Whether the record lacks facts; its number of frames may be wrong too."""
    return record.usable and record.mirrored is None
