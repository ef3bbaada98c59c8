"""The estimate of what preparing takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import IndexRow
from videonl.data.preparing import cost
from videonl.data.preparing.cost import measure_preparing
from videonl.data.preparing.encoding import Encoding
from videonl.data.preparing.prepare import Job, encode_one, prepare
from videonl.data.sources.folders import read_folder
from videonl.errors import UserError
from videonl.runtime.parallel import NoResult

SMALL = Encoding(short_side_px=34)


def test_the_estimate_is_in_proportion_to_frames(
    video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes three seconds for each frame; and 17 times as many files that are not measured."""
    index = tmp_path / "index.parquet"
    records = make_index(read_folder(video_folder), index, "packets")
    encoded: list[int] = []

    def noted(job: Job) -> IndexRow | NoResult:
        encoded.append(job.record.num_frames or 0)
        return encode_one(job)

    monkeypatch.setattr("videonl.data.preparing.cost.encode_one", noted)
    monkeypatch.setattr("videonl.data.preparing.cost.time.process_time", lambda: 3.0 * sum(encoded))
    found = measure_preparing(records, index, tmp_path / "some", (3, 2), 7, SMALL)
    assert found is not None
    frames = 13 + 17 + 19 + 23 + 29 + 31 + 1
    assert sorted(encoded) == [1, 13, 17, 19, 23, 29, 31] and found.num_measured == found.num_files == 7
    assert found.core_seconds == pytest.approx((3 * frames,) * 3, rel=1e-10)
    assert found.bytes_read == sum(path.stat().st_size for path in video_folder.glob("*/*.mp4"))
    made, _ = prepare(index, tmp_path / "prepared", SMALL)
    assert found.bytes_written == pytest.approx(sum(row.num_bytes or 0 for row in made), rel=0.01)
    assert found.decoding is not None and found.decoding.num_videos == 7

    encoded.clear()
    gone = [replace(record, path=f"{record.path}.{number}") for record in records for number in range(17)]
    monkeypatch.setattr(cost, "_chosen", lambda files, num_sampled: list(files)[:num_sampled])
    larger = measure_preparing([*records, *gone, *records], index, tmp_path / "larger", (3, 2), 7, SMALL)
    assert larger is not None and larger.num_measured == 7 and larger.num_files == 7 * 18
    assert larger.core_seconds == pytest.approx((18 * 3 * frames,) * 3, rel=1e-10)
    assert larger.bytes_read == 18 * found.bytes_read
    assert measure_preparing(gone, index, tmp_path / "none", (3, 2), 7, SMALL) is None


def test_videos_in_shards_are_refused(tmp_path: Path) -> None:
    row = IndexRow("a.mp4", "a", shard="1.tar", offset_bytes=512, num_bytes=3)
    with pytest.raises(UserError, match=r"prepared already, into shards. Leave out --cost"):
        measure_preparing([row], tmp_path / "index.parquet", tmp_path, (3, 2), 2)
