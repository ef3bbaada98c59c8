import inspect
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from videonl.data.indexing.index_file import Record, path_for, read_index, write_index
from videonl.data.reading.shard_member import ShardMember
from videonl.errors import UserError

FULL = Record(
    "a b/x.mp4", "walk", "train", "id", "damaged", "why", 7, 11, "ff", "mov", "h264", 62, 46, 90, True, "4:3", False, 13
)


def test_records_survive_and_every_column_is_documented(tmp_path: Path) -> None:
    records = [FULL, Record("/far/y.mp4", "run", key_frames=[0, 7], exact_backends=["pyav"])]
    write_index(tmp_path / "index.parquet", records)
    assert read_index(tmp_path / "index.parquet") == read_index(str(tmp_path)) == records
    columns = pq.read_schema(tmp_path / "index.parquet").names
    assert columns == [column.name for column in fields(Record)]
    assert all(f"\n    {name}: " in (inspect.getdoc(Record) or "") for name in columns)
    assert [path.name for path in tmp_path.iterdir()] == ["index.parquet"]


def test_paths_in_the_folder_of_the_index_move_with_it(tmp_path: Path) -> None:
    index = tmp_path / "here" / "index.parquet"
    inside, outside = tmp_path / "here" / "a" / "x.mp4", tmp_path / "y.mp4"
    assert path_for(index, inside) == "a/x.mp4"
    assert path_for(index, outside) == str(outside)
    assert Record("a/x.mp4", "a").location(index) == inside
    assert Record(str(outside), "a").location(index) == outside
    sharded = Record("000001.mp4", "a", shard="train-000000.tar", offset_bytes=512, num_bytes=7)
    assert sharded.location("s3://b/c/index.parquet") == ShardMember("s3://b/c/train-000000.tar", 512, 7, "000001.mp4")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"x\.parquet: cannot be read as an index"):
        read_index(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"gone\.parquet: cannot be read"):
        read_index(tmp_path / "gone.parquet")
    with pytest.raises(UserError, match=r"nosuch"):
        read_index("nosuch://bucket/index.parquet")
    pq.write_table(pq.ParquetFile(write_and_name(tmp_path)).read(columns=["path"]), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="no column label, status"):
        read_index(tmp_path / "x.parquet")


def write_and_name(folder: Path) -> Path:
    write_index(folder / "index.parquet", [FULL])
    return folder / "index.parquet"
