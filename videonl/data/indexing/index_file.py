"""The index of a data set: a Parquet file with one row of facts per video."""

import io
import os
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from videonl.data.reading.fetching import fetch, why_not
from videonl.data.reading.segment import Place, Segment, part_of
from videonl.data.reading.shard_member import ShardMember, is_url
from videonl.data.reading.url_path import UrlPath, Where, where
from videonl.errors import UserError
from videonl.files import whole_path

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_NAME = "index.parquet"
Status = Literal["ok", "damaged", "broken", "missing"]
_STATUSES = get_args(Status)


@dataclass(frozen=True, slots=True)  # there may be a million
class IndexRow:
    """One row of an index; the columns of the file have these names. Facts are those of the whole file.

    Args:
        path: The video, relative to the folder of the index if it is in that folder, otherwise absolute; or its URL.
        label: The class, as written in the source; empty if the source has none.
        split: train, val, ...; empty if the source has none.
        clip_id: The video of the clip (a YouTube id); empty if the source has none.
        status: ``ok``; ``damaged``: every frame can be read, but the decoder had to conceal errors; ``broken``: cannot
            be read, or not all of it; ``missing``: there is no such file.
        reason: Why it is not ``ok``.
        num_bytes: Size of the file, or of all frames of a folder.
        modified_ns: When the file was modified last, in nanoseconds since 1970; null at a URL.
        content_hash: BLAKE2b of the bytes, 16 bytes in hexadecimal.
        container: Format of the file, by its first name in FFmpeg; ``frames`` for a folder of frames.
        codec: Video codec, by its name in FFmpeg.
        width: Width in pixels, upright.
        height: Height in pixels, upright.
        rotation: Degrees by which the frames are turned counterclockwise to be upright.
        mirrored: Whether they are then mirrored left to right, as of front cameras.
        pixel_aspect: Width over height of a pixel as players show it, such as ``16:11``; empty for square pixels.
        interlaced: Whether the first frame is two fields of different times, woven.
        num_frames: Number of frames.
        fps: Frames per second, on average; empty for folders of frames, which have no rate.
        duration_seconds: From the first frame's appearance to the last one's end.
        key_frames: Indices of the frames at which decoding can begin.
        compared_backends: Decoders that were compared with sequential decoding.
        exact_backends: Those of them that returned exactly the same frames.
        checked: ``packets``, ``decode`` or ``compare``: how thoroughly.
        frame_table: The frames of a file without damage, as its readers list them (``FrameTable.to_text``): a training
            that reads the index need not look for them.
        source_path: The source of a prepared video.
        source_hash: The ``content_hash`` of the source.
        psnr_db: PSNR of the brightness of a prepared video's frames against its source's, resized.
        shard: The shard a video is in, relative to the folder of the index; ``path`` then is its name there.
        offset_bytes: Where it begins in the shard; it ends ``num_bytes`` later.
        start: Where the part begins that the row is about, in seconds; null for the whole video, as are the next three.
        end: Where it ends; null for the rest of the video.
        start_frame: Where it begins, as the number of a frame, of parts that are given so.
        end_frame: The number of the frame before which it ends.
        version: Of a file at a URL, its tag (ETag), or else its time: what changes when the file does.
    """

    path: str
    label: str
    split: str = ""
    clip_id: str = ""
    status: Status = "ok"
    reason: str = ""
    num_bytes: int | None = None
    modified_ns: int | None = None
    content_hash: str = ""
    container: str = ""
    codec: str = ""
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    mirrored: bool | None = None
    pixel_aspect: str = ""
    interlaced: bool | None = None
    num_frames: int | None = None
    fps: float | None = None
    duration_seconds: float | None = None
    key_frames: list[int] = field(default_factory=list)
    compared_backends: list[str] = field(default_factory=list)
    exact_backends: list[str] = field(default_factory=list)
    checked: str = ""
    frame_table: str = ""
    source_path: str = ""
    source_hash: str = ""
    psnr_db: float | None = None
    shard: str = ""
    offset_bytes: int | None = None
    start: float | None = None
    end: float | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    version: str = ""

    @property
    def usable(self) -> bool:
        """Whether a training may use it."""
        return self.status in ("ok", "damaged")

    @property
    def trusted_table(self) -> str:
        """``frame_table``, unless no decoder returned those frames, as in some tables of version 0.1."""
        return "" if self.compared_backends and not self.exact_backends else self.frame_table

    @property
    def segment(self) -> Segment | None:
        """The part of the video that the row is about; None for all of it."""
        return Segment.of_columns(self.start, self.end, self.start_frame, self.end_frame)

    @property
    def name(self) -> str:
        """The path, and which part of it: ``match.mp4#t=11.9,21.2``."""
        return f"{self.path}#{self.segment}" if self.segment else self.path

    def location(self, index: Path | str) -> Place:
        """Where the video, or its part, is, given where the index, or the folder of ``index.parquet``, is."""
        return part_of(self.file_location(index), self.segment)

    def file_location(self, index: Path | str) -> Path | ShardMember:
        """As :meth:`location`, of the whole file."""
        folder = _folder_of(index)
        if self.shard:
            assert self.offset_bytes is not None and self.num_bytes is not None
            return ShardMember(f"{folder}/{self.shard}", self.offset_bytes, self.num_bytes, self.path)
        if is_url(self.path):
            return UrlPath(self.path, size_bytes=self.num_bytes or 0)
        if isinstance(folder, str) and not os.path.isabs(self.path):
            return UrlPath(f"{folder}/{self.path}", size_bytes=self.num_bytes or 0)
        return Path(folder) / self.path


@lru_cache(16)
def _folder_of(index: Path | str) -> Path | str:
    """The folder, or its URL: found once, not for each of a million rows."""
    file = file_of(index)
    return file.rpartition("/")[0] if is_url(file) else Path(file).parent


_REQUIRED = frozenset(("path", "label", "status"))
_REPEATED = frozenset(("label", "split", "status", "container", "codec", "pixel_aspect", "checked", "shard"))
_ROWS_AT_ONCE = 5000


@cache
def index_schema() -> "pa.Schema":
    """The columns of an index."""
    import pyarrow as pa  # here, as below: most commands read no index, and need not wait for it

    types: dict[Any, pa.DataType] = {
        str: pa.string(),
        Status: pa.string(),
        int | None: pa.int64(),
        bool | None: pa.bool_(),
        float | None: pa.float64(),
        list[int]: pa.list_(pa.int32()),
        list[str]: pa.list_(pa.string()),
    }
    return pa.schema([(column.name, types[column.type]) for column in fields(IndexRow)])


def is_index(path: Path) -> bool:
    """Whether this is an index by its name, ``*.parquet``."""
    return path.suffix == ".parquet"


def is_index_schema(schema: "pa.Schema") -> bool:
    """Whether a Parquet file with these columns is an index."""
    return set(schema.names) >= _REQUIRED


def read_index(index: Path | str, columns: Collection[str] | None = None) -> list[IndexRow]:
    """Read the rows of an index.

    Args:
        index: The file, or the folder it is in as ``index.parquet``, or the URL of either.
        columns: What is needed beside path, label and status; the others keep their defaults. By default everything.

    Raises:
        UserError: It cannot be read, or is another file or folder.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_indexed(str(index))
    try:
        with _opened(file_of(index)) as file, pq.ParquetFile(file) as parquet:
            known = _known_columns(index, parquet.schema_arrow.names, columns)
            batches = parquet.iter_batches(_ROWS_AT_ONCE, columns=known.names)
            return list(_records(batches, known, index))
    except UserError:
        raise
    except Exception as error:  # each kind of storage has errors of its own; fsspec names the package that is needed
        if not is_url(str(index)) and not isinstance(error, (OSError, ValueError, pa.ArrowException)):
            raise
        reason = why_not(error)
        raise UserError(f"{index}: cannot be read as an index ({reason}). Use a file of `videonl index`.") from error


def _opened(index: Path | str) -> BinaryIO:
    return io.BytesIO(fetch(str(index))) if is_url(str(index)) else open(index, "rb")


def _known_columns(index: Path | str, names: Sequence[str], wanted: Collection[str] | None) -> "pa.Schema":
    import pyarrow as pa

    if missing := _REQUIRED - set(names):
        raise UserError(f"{index}: not an index of videonl: it has no column {', '.join(sorted(missing))}.")
    chosen = set(names) if wanted is None else {*_REQUIRED, *wanted} & set(names)
    return pa.schema([field for field in index_schema() if field.name in chosen])


def _records(batches: Iterable["pa.RecordBatch"], known: "pa.Schema", index: Path | str) -> Iterator[IndexRow]:
    """The rows of a few thousand at a time: all of them, as dictionaries, would take several times their memory."""
    import pyarrow as pa

    number = 0
    seen: dict[str, str] = {}
    for batch in batches:
        try:
            rows = pa.Table.from_batches([batch]).select(known.names).cast(known).to_pylist()
        except (pa.ArrowException, ValueError) as error:
            raise UserError(
                f"{index}: a column has values of the wrong type ({error}). Index the videos again."
            ) from error
        for row in rows:
            number += 1
            row.update((name, seen.setdefault(row[name], row[name])) for name in _REPEATED & row.keys() if row[name])
            yield _record(row, f"{file_of(index)}, row {number}")


def _check_indexed(name: str) -> None:
    where(name)  # refuses a URL with a mistake
    kind = "folder without an index" if os.path.isdir(name) else "file that is not an index"
    is_file = os.path.isfile(name) and not is_index(Path(name))
    if is_file or (os.path.isdir(name) and not os.path.exists(file_of(name))):
        raise UserError(f"{name} is a {kind}. Index it first: videonl index {shlex.quote(name)} --out index.parquet")


def _record(row: dict[str, Any], where: str) -> IndexRow:
    """A row without its nulls, which mean unknown."""
    for name in ("path", "label", "status"):
        if not row[name] and not (name == "label" and row[name] is not None):
            raise UserError(f"{where}: has no {name}. Index the videos again, or leave the row out.")
    if row["status"] not in _STATUSES:
        raise UserError(f"{where}: status {row['status']!r} is not one of {', '.join(_STATUSES)}.")
    return IndexRow(**{name: value for name, value in row.items() if value is not None})


def write_index(index: Path, records: Sequence[IndexRow]) -> None:
    """Write an index, completely or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([asdict(record) for record in records], schema=index_schema())
    with whole_path(index) as unfinished:
        pq.write_table(table, unfinished)


def path_for(index: Path, video: Where) -> str:
    """How an index writes where a video is: relative to its folder if it lies there, else absolute, or as a URL."""
    if isinstance(video, UrlPath):
        return str(video)
    folder, absolute = Path(os.path.abspath(index.parent)), Path(os.path.abspath(video))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)


def file_of(index: Path | str) -> str:
    """The file or URL of an index that may be given by its folder."""
    text = str(index)
    return text if text.endswith(".parquet") else f"{text.rstrip('/')}/{INDEX_NAME}"
