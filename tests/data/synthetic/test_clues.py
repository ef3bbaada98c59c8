"""Clues are found beside the clips, and where a clip shows them."""

from pathlib import Path

import pytest
import torch

from videonl.data.located_clip import LocatedClip, read_middle_clip
from videonl.data.synthetic.clues import find_clues, locate, read_clues
from videonl.data.synthetic.dataset import SyntheticSettings, synthetic_clips, write_synthetic
from videonl.data.synthetic.frames import Mark
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic(folder, SyntheticSettings(num_train=3, num_val=2, num_test=5, size_px=38, num_frames=7))
    return folder


def test_clues_are_those_of_the_clips(folder: Path) -> None:
    drawn = [clue for clue, _ in synthetic_clips(SyntheticSettings(2, 3, 2, 5, 38, 7))]
    assert read_clues(folder / "clues.csv") == drawn
    videos = sorted((folder / "test").glob("*/*.mp4"))
    found = find_clues([*videos, folder / "other" / "sum_0" / "clip.mp4", Path("clip.mp4")])
    assert list(found) == videos
    assert {str(video.relative_to(folder)) for video in videos} == {clue.path for clue in found.values()}


def test_a_mark_lies_where_the_clip_is_bright(folder: Path) -> None:
    form = ClipFormat(num_frames=7, stride_frames=1, short_side_px=76, crop_px=70)  # twice as large, cut by 3 px
    for video, clue in find_clues((folder / "test").glob("*/*.mp4")).items():
        clip = read_middle_clip(video, form)
        for mark in (clue.cue, clue.probe):
            box = locate(mark, clip)
            assert box is not None
            assert list(box.frames) == [mark.first_frame, mark.last_frame]
            assert abs(box.rows.start - max(2 * mark.y0_px - 3, 0)) <= 1
            assert abs(box.columns.stop - min(2 * mark.x1_px - 3, 70)) <= 1
            y, x = box.middle_px
            # Marks are brighter than 190, the background is around 90.
            assert clip.pixels[:, box.frames[0], y - 1 : y + 2, x - 1 : x + 2].float().mean() > 150


def test_a_mark_outside_the_crop_or_the_frames_is_nowhere() -> None:
    mark = Mark(0, x0_px=10, y0_px=20, x1_px=14, y1_px=30, first_frame=4, last_frame=5)
    pixels = torch.zeros(3, 2, 10, 10, dtype=torch.uint8)
    seen = LocatedClip(pixels, (3, 5), (0.0, 1.0), (16.0, 8.0, 20.0, 20.0))
    box = locate(mark, seen)
    assert box is not None
    assert (list(box.frames), box.rows, box.columns) == ([1], range(2, 7), range(1, 3))
    assert locate(mark, LocatedClip(pixels, (1, 3), (0.0, 1.0), seen.crop)) is None
    assert locate(mark, LocatedClip(pixels, (3, 5), (0.0, 1.0), (16.0, 14.0, 20.0, 20.0))) is None


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clues.csv").write_text("path,label\na.mp4,sum_0\n")
    with pytest.raises(UserError, match=r"clues\.csv is not what videonl synth wrote"):
        read_clues(tmp_path / "clues.csv")
