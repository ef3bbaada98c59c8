"""Packs videos into shards: tar files in the convention of WebDataset, with an index that says where each begins.

WebDataset is a convention for tar files (https://github.com/webdataset/webdataset): files of one sample lie together
and share the name before the first dot. So any tool reads them in order, and with the index any one video can be read
alone.
"""

import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from videonl.data.indexing.index_file import INDEX_NAME, IndexRow, file_of, read_index, write_index
from videonl.data.reading.shard_member import ShardMember
from videonl.errors import UserError, require_within
from videonl.files import LOCK, locked, whole_path
from videonl.outputs import refuse_inputs

FIRST_NAME = b"000000.json\0"
_SHARD_NAME = re.compile(r".+-[0-9]{6}\.tar")


def write_shards(
    index: Path | str,
    output: Path,
    shard_bytes: int = 256 * 10**6,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[IndexRow]:
    """Pack the usable videos of an index as ``output/SPLIT-000000.tar`` and so on, with ``output/index.parquet``.

    Within a split the order is shuffled, so that reading a shard from its start to its end meets all classes: it is
    that of hashes of the paths, in which no video moves because another one is missing. A video of several segments
    is packed once for each split. The bytes are a function of the videos and the index. The index is written last.

    Args:
        index: The index, e.g. of prepared videos.
        output: The folder to write; all shards of ours in it are replaced.
        shard_bytes: A shard is closed when it has as many.
        progress: Called with the number of videos packed and the number of all, after each.

    Returns:
        The records of the new index, in the order in which they are packed.

    Raises:
        UserError: Nothing is usable, a video is a folder of frames, ``shard_bytes`` is less than 1, or the folder
            cannot be written.
    """
    require_within(1, shard_bytes=shard_bytes)
    records = [record for record in read_index(index) if record.usable]
    if not records or any(record.container == "frames" or record.shard for record in records):
        raise UserError(f"{index}: has no video files to pack, or has folders of frames. Pack prepared videos.")
    refuse_inputs([output / INDEX_NAME], [Path(file_of(index))])
    packed: list[IndexRow] = []
    try:
        with locked(output / LOCK, f"shards are being written to {output}"):
            (output / INDEX_NAME).unlink(missing_ok=True)  # of shards that are replaced: it would point into others
            for name, part in _planned(records, shard_bytes):
                packed += write_shard(output / name, [(rows[0].file_location(index), rows) for rows in part])
                progress(len(packed), len(records))
            write_index(output / INDEX_NAME, packed)
            _remove_other_shards(output, {record.shard for record in packed})
    except OSError as error:
        raise UserError(f"{output}: shards cannot be written ({error}).") from error
    return packed


def in_order(records: Sequence[IndexRow]) -> dict[str, list[list[IndexRow]]]:
    """For each split the files, in the order in which they are packed; of each its rows: one, or several segments."""
    found: dict[str, list[list[IndexRow]]] = {}
    for split in sorted({record.split for record in records}):
        of_file: dict[tuple[str, int], list[IndexRow]] = {}
        num_seen: Counter[str] = Counter()
        for record in records:
            if record.split == split:
                of_file.setdefault((record.path, -1 if record.segment else num_seen[record.path]), []).append(record)
                num_seen[record.path] += 1
        found[split] = [of_file[file] for file in sorted(of_file, key=_hash)]
    return found


def name_of_shard(split: str, number: int) -> str:
    """What a shard is called, of the shards of its split."""
    return f"{split or 'all'}-{number:06d}.tar"


def is_ours(name: str, beginning: bytes) -> bool:
    """Whether a file was written as a shard by this module, by its name and how it begins."""
    return bool(_SHARD_NAME.fullmatch(name)) and beginning == FIRST_NAME  # a tar file begins with a name


def _hash(file: tuple[str, int]) -> bytes:
    return hashlib.blake2b(repr(file).encode(), digest_size=16).digest()


def _planned(records: Sequence[IndexRow], shard_bytes: int) -> Iterator[tuple[str, list[list[IndexRow]]]]:
    """For each shard its name and the files in it."""
    for split, files in in_order(records).items():
        for number, part in enumerate(_parts(files, shard_bytes)):
            yield name_of_shard(split, number), part


def _remove_other_shards(output: Path, written: Container[str]) -> None:
    """Removes the shards of an earlier call, which a pattern such as ``train-*.tar`` would take for these ones'."""
    for shard in output.glob("*.tar"):
        with shard.open("rb") as file:
            beginning = file.read(len(FIRST_NAME))
        if is_ours(shard.name, beginning) and shard.name not in written:
            shard.unlink()


def _parts(files: Sequence[list[IndexRow]], shard_bytes: int) -> Iterator[list[list[IndexRow]]]:
    part: list[list[IndexRow]] = []
    for rows in files:
        part.append(rows)
        if sum(member[0].num_bytes or 0 for member in part) >= shard_bytes:
            yield part
            part = []
    if part:
        yield part


def write_shard(shard: Path, files: Sequence[tuple[Path | ShardMember, Sequence[IndexRow]]]) -> list[IndexRow]:
    """Packs files into one shard, which appears whole or not at all.

    Args:
        shard: The file to write.
        files: Each file with its rows.

    Returns:
        The rows, with their places in the shard.

    Raises:
        OSError: A file cannot be read.
        UserError: The shard cannot be written.
    """
    with whole_path(shard) as unfinished, tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as archive:
        return [
            row
            for place, (video, rows) in enumerate(files)
            for row in _add(archive, rows, f"{place:06d}", shard.name, video)
        ]


def _add(
    archive: tarfile.TarFile, rows: Sequence[IndexRow], key: str, shard: str, video: Path | ShardMember
) -> list[IndexRow]:
    """Packs one file; the rows are whole, or segments of it."""
    record = rows[0]
    described: dict[str, Any] = {
        "label": record.label,
        "split": record.split,
        "path": record.path,
        "num_frames": record.num_frames,
    }
    segments = [{"label": row.label, **row.segment.columns()} for row in rows if row.segment]
    if segments:
        described = {**described, "label": None, "segments": segments}
    _add_file(archive, f"{key}.json", json.dumps(described).encode())
    name = f"{key}{Path(video.name).suffix.lower()}"
    data = video.fetch() if isinstance(video, ShardMember) else video.read_bytes()
    offset_bytes = _add_file(archive, name, data)
    place = {"path": name, "shard": shard, "offset_bytes": offset_bytes, "num_bytes": len(data)}
    return [replace(row, **place, source_path=row.source_path or str(video)) for row in rows]  # type: ignore[arg-type]  # by their names


def _add_file(archive: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a file with no owner or time, so that the same videos give the same shard; return where it begins."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    offset_bytes = archive.offset + tarfile.BLOCKSIZE  # a USTAR header is one block
    archive.addfile(header, io.BytesIO(data))
    return offset_bytes
