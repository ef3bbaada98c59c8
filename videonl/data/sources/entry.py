"""What every source yields: a video, its label, and where that was written."""

from pathlib import Path
from typing import NamedTuple

from videonl.data.reading.shard_member import ShardMember

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".gif", ".wmv", ".flv"))


class LabelledPath(NamedTuple):
    """A video with its label as written, and where that was written (``clips.csv:12``, or the file itself).

    Attributes:
        path: The video file, folder of frames, or place in a shard.
        label: The class.
        origin: Where that was written, for messages.
        split: train, val, ...; empty where the source names none.
        clip_id: What the clip was cut from (a YouTube id); empty where the source names none.
        frame_table: The frames of the file, where an index knows them (``FrameTable.to_text``).
        unreadable: Why an index says that it cannot be read; empty where it can.
    """

    path: Path | ShardMember
    label: str
    origin: str
    split: str = ""
    clip_id: str = ""
    frame_table: str = ""
    unreadable: str = ""


def is_video_name(name: str) -> bool:
    """Whether a file of this name is taken for a video; hidden ones are not.

    >>> is_video_name("walk.MP4"), is_video_name(".walk.mp4"), is_video_name("walk.txt")
    (True, False, False)
    """
    return Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
