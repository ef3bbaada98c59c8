"""Where the cue and the probe of synthetic clips are, read back from beside the clips."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from videonl.data.located_clip import LocatedClip
from videonl.data.synthetic.dataset import CLUES_FILE, Clue
from videonl.data.synthetic.frames import SHAPES, Mark
from videonl.errors import UserError


class Box(NamedTuple):
    """Where a mark shows in a clip: its frames, rows and columns, none of them empty."""

    frames: Sequence[int]
    rows: range
    columns: range

    @property
    def middle_px(self) -> tuple[int, int]:
        """(y, x) of its middle."""
        return self.rows[len(self.rows) // 2], self.columns[len(self.columns) // 2]


def find_clues(videos: Iterable[Path]) -> dict[Path, Clue]:
    """The clues of the videos that ``videonl synth`` wrote.

    Args:
        videos: Any files. Those below a folder with ``clues.csv`` in it have clues: ``DIR/test/sum_0/clip_00001.mp4``.

    Returns:
        By video; nothing for other videos.

    Raises:
        UserError: A ``clues.csv`` is not what was written.
    """
    by_path: dict[Path, Clue] = {}
    videos = list(videos)
    for root in {root for video in videos for root in video.parents[2:3]}:
        if (root / CLUES_FILE).is_file():
            by_path |= {root / clue.path: clue for clue in read_clues(root / CLUES_FILE)}
    return {video: by_path[video] for video in videos if video in by_path}


def read_clues(path: Path) -> list[Clue]:
    """Reads the ``clues.csv`` of a synthetic data set.

    Raises:
        UserError: It is not one.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Clue(row["path"], row["split"], row["label"], _mark(row, "cue"), _mark(row, "probe"))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what videonl synth wrote ({error!r}); write the data set again") from error


def _mark(row: dict[str, str], which: str) -> Mark:
    return Mark(SHAPES.index(row[which]), *(int(row[f"{which}_{field}"]) for field in Mark._fields[1:]))


def locate(mark: Mark, clip: LocatedClip) -> Box | None:
    """Where a mark shows in a clip; None where the clip leaves it out.

    Args:
        mark: In frames and pixels of the video.
        clip: Cut from that video.
    """
    top, left, height, width = clip.crop
    rows_px, columns_px = clip.pixels.shape[2:]
    frames = [place for place, frame in enumerate(clip.video_frames) if mark.first_frame <= frame <= mark.last_frame]
    rows = _inside(mark.y0_px, mark.y1_px, top, height, rows_px)
    columns = _inside(mark.x0_px, mark.x1_px, left, width, columns_px)
    return Box(frames, rows, columns) if frames and rows and columns else None


def _inside(start_px: int, end_px: int, crop_start: float, crop_length: float, num_pixels: int) -> range:
    """The pixels of the crop along one axis whose centers lie in a part of the video's."""
    centers = (crop_start + (pixel + 0.5) * crop_length / num_pixels for pixel in range(num_pixels))
    inside = [pixel for pixel, center in enumerate(centers) if start_px <= center < end_px]
    return range(inside[0], inside[-1] + 1) if inside else range(0)
