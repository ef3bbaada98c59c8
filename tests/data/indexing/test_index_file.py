import base64
import inspect
import re
import zlib
from dataclasses import asdict, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from videonl.data.indexing.index_file import IndexRow, index_schema, path_for, read_index, write_index
from videonl.data.reading.shard_member import ShardMember
from videonl.data.reading.video_reader import DecodingError
from videonl.data.video import Video
from videonl.errors import UserError

FULL = IndexRow(
    "a b/x.mp4", "walk", "train", "id", "damaged", "why", 7, 11, "ff", "mov", "h264", 62, 46, 90, True, "4:3", False, 13
)


def test_records_survive_and_every_column_is_documented(tmp_path: Path) -> None:
    records = [FULL, IndexRow("/far/y.mp4", "run", key_frames=[0, 7], exact_backends=["pyav"])]
    write_index(tmp_path / "index.parquet", records)
    assert read_index(tmp_path / "index.parquet") == read_index(str(tmp_path)) == records
    columns = pq.read_schema(tmp_path / "index.parquet").names
    assert columns == [column.name for column in fields(IndexRow)]
    assert all(f"\n    {name}: " in (inspect.getdoc(IndexRow) or "") for name in columns)
    assert [path.name for path in tmp_path.iterdir()] == ["index.parquet"]


def test_paths_in_the_folder_of_the_index_move_with_it(tmp_path: Path) -> None:
    index = tmp_path / "here" / "index.parquet"
    inside, outside = tmp_path / "here" / "a" / "x.mp4", tmp_path / "y.mp4"
    assert path_for(index, inside) == "a/x.mp4"
    assert path_for(index, outside) == str(outside)
    assert IndexRow("a/x.mp4", "a").location(index) == inside
    assert IndexRow(str(outside), "a").location(index) == outside
    sharded = IndexRow("000001.mp4", "a", shard="train-000000.tar", offset_bytes=512, num_bytes=7)
    assert sharded.location("s3://b/c/index.parquet") == ShardMember("s3://b/c/train-000000.tar", 512, 7, "000001.mp4")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no table")
    (tmp_path / "my clips.csv").touch()
    for name, kind in (("my clips.csv", "file that is not an index"), ("", "folder without an index")):
        remedy = rf"is a {kind}\. Index it first: videonl index .*{name}'? --out index\.parquet"
        with pytest.raises(UserError, match=remedy):
            read_index(tmp_path / name)
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


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"path": None}, "row 2: has no path"),
        ({"label": None}, "row 2: has no label"),
        ({"status": "fine"}, "row 2: status 'fine' is not one of ok, damaged, broken, missing"),
    ],
    ids=["path", "label", "status"],
)
def test_rows_without_what_they_need_are_refused_by_number(
    tmp_path: Path, change: dict[str, str | None], told: str
) -> None:
    rows = [asdict(FULL), {**asdict(FULL), **change}]
    pq.write_table(pa.Table.from_pylist(rows, schema=index_schema()), tmp_path / "index.parquet")
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'index.parquet'}, {told}")):
        read_index(tmp_path)


def test_nulls_of_what_need_not_be_known_stand_for_that(tmp_path: Path) -> None:
    rows = [{**asdict(FULL), "split": None, "frame_table": None, "key_frames": None, "label": ""}]
    pq.write_table(pa.Table.from_pylist(rows, schema=index_schema()), tmp_path / "index.parquet")
    assert read_index(tmp_path) == [replace(FULL, split="", label="")]


def test_columns_of_another_kind_are_refused(tmp_path: Path) -> None:
    table = pa.table({"path": ["a.mp4"], "label": ["a"], "status": ["ok"], "num_frames": ["many"]})
    pq.write_table(table, tmp_path / "index.parquet")
    with pytest.raises(UserError, match=r"index\.parquet: a column has values of the wrong type .*many"):
        read_index(tmp_path / "index.parquet")


@pytest.mark.parametrize("damage", ["no table", "A", base64.b85encode(zlib.compress(b"[]")).decode()])
def test_a_damaged_frame_table_makes_the_video_unreadable(tmp_path: Path, damage: str) -> None:
    with pytest.raises(DecodingError, match=r"x\.mp4: its frame table in the index is damaged; index it again"):
        Video(tmp_path / "x.mp4", 0, damage).open()
