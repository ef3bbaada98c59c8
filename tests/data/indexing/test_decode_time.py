from pathlib import Path

import pytest

from videonl.data.indexing.decode_time import DecodeTime, measure_decoding
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.index_file import IndexRow
from videonl.data.indexing.index_report import report_of
from videonl.data.sources.labeled import read_source


def test_epoch_and_workers_follow_from_the_seconds_per_clip() -> None:
    measured = DecodeTime(0.02, 0.01, 0.03, 17)
    assert measured.epoch_seconds(1000) == pytest.approx((20, 10, 30))
    assert [measured.workers_for(rate) for rate in (1, 100, 101)] == [1, 3, 4]


def test_a_sample_is_decoded(video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "index.parquet"
    records = make_index(read_source(str(video_folder)), output, "packets")
    ticks = iter(range(100))
    # Opened and read between two ticks of one second each.
    monkeypatch.setattr("videonl.data.indexing.decode_time.time.perf_counter", lambda: float(next(ticks)))
    measured = measure_decoding(records, output, num_frames=3, stride_frames=2, num_sampled=5)
    assert measured == DecodeTime(1.0, 1.0, 1.0, 5)
    report = report_of(records, measured, clips_per_second=13)
    assert report["decoding"]["epoch_seconds"] == (7, 7, 7)
    assert report["decoding"]["num_workers"] == 13
    assert report["classes"] == {"a": {"": 2}, "b": {"": 3}, "c": {"": 2}}
    assert report["splits"][""]["seconds"] == pytest.approx((13 + 17 + 19 + 23 + 29 + 31 + 1) / 24)
    assert measure_decoding(records, output, 3, 2, num_sampled=0) is None


def test_decoders_that_were_exact_on_no_video_are_reported_and_not_compared_is_not_exact() -> None:
    never = IndexRow("a.avi", "a", compared_backends=["pyav", "decord"], exact_backends=["pyav"])
    again = IndexRow("b.avi", "a", compared_backends=["pyav", "decord"], exact_backends=["pyav"])
    unknown = IndexRow("c.avi", "a")
    report = report_of([never, again, unknown])
    assert (report["inexact"], report["num_compared"]) == (["decord: 2 of 2 videos"], 2)
    assert (report_of([unknown])["inexact"], report_of([unknown])["num_compared"]) == ([], 0)
