"""What earlier runs found out about files, so that none is examined twice."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonl.data.indexing.facts import CANNOT_BE_READ, Check
from videonl.data.indexing.fingerprint import place_key
from videonl.data.indexing.index_file import IndexRow, is_index_schema, read_index
from videonl.data.indexing.journal import JOURNAL_SUFFIX, Journal
from videonl.data.reading.fetching import NOT_FETCHED
from videonl.data.reading.segment import NO_FRAMES
from videonl.data.reading.shard_member import is_url
from videonl.data.reading.url_path import Where
from videonl.runtime.parallel import CRASHED, OUT_OF_TIME

# A slow disk, a permission, too little memory: the file may do another time, and nothing of it need change for that.
PASSING = (OUT_OF_TIME, CRASHED, CANNOT_BE_READ, NOT_FETCHED)
_REQUESTS_AT_ONCE = 32


def known_records(files: Mapping[str, Where], output: Path, check: Check) -> dict[str, IndexRow]:
    """What the index, others in its folder, and their journals say of unchanged files, by absolute path.

    Args:
        files: The files asked about, by their absolute paths or URLs.
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
    kept = {_absolute(record.path): record for record in found if record.checked == check and not record.shard}
    asked = {path: file for path, file in files.items() if path in kept and _may_hold(kept[path])}
    return {path: kept[path] for path, key in _keys(asked) if key == _key_of(kept[path])}


def _absolute(path: str) -> str:
    return path if is_url(path) else os.path.abspath(path)


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


def _may_hold(record: IndexRow) -> bool:
    return not record.reason.startswith((*PASSING, NO_FRAMES)) and not _is_of_version_0_1(record)


def _keys(files: Mapping[str, Where]) -> Iterator[tuple[str, Any]]:
    remaining = iter(files.items())
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE, "videonl-known") as threads:
        while block := list(islice(remaining, 100 * _REQUESTS_AT_ONCE)):
            yield from zip([path for path, _ in block], threads.map(_key, [file for _, file in block]), strict=True)


def _key(file: Where) -> tuple[int, int | None, str] | None:
    """What changes when a file does; None where there is none. Listed files are known, for others a URL is asked."""
    try:
        key = place_key(file)
    except OSError:
        return None
    return key if any(key[1:]) else None  # some servers tell no versions apart


def _key_of(record: IndexRow) -> tuple[int | None, int | None, str]:
    return record.num_bytes, record.modified_ns, record.version


def _is_of_version_0_1(record: IndexRow) -> bool:
    """Whether the record lacks facts; its number of frames may be wrong too."""
    return record.usable and record.mirrored is None
