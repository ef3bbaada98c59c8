"""What every source yields: a video, its label, and where that was written."""

import os
from typing import NamedTuple

from videonl.data.reading.segment import Place

# Of files that FFmpeg opens as videos; a class folder also takes files of other names that it opens.
VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".gif"),
        *(".wmv", ".asf", ".flv", ".ogv", ".ogm", ".mxf", ".dv", ".rm", ".rmvb", ".nut", ".ivf", ".y4m", ".wtv"),
        *(".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".mpv", ".vob", ".ts", ".m2t", ".mts", ".m2ts", ".trp"),
        *(".mjpg", ".mjpeg", ".h264", ".264", ".hevc", ".h265", ".265"),
    )
)


class LabeledPath(NamedTuple):
    """A video with its label as written, and where that was written (``clips.csv:12``, or the file itself).

    Attributes:
        path: The video file, folder of frames, place in a shard, or a part of either.
        label: The class, or several as a JSON list of text; None where the source gives none.
        origin: Where that was written, for messages.
        split: train, val, ...; empty where the source names none.
        clip_id: What the clip was cut from (a YouTube id); empty where the source names none.
        frame_table: The frames of the file, where an index knows them (``FrameTable.to_text``).
        unreadable: Why an index says that it cannot be read; empty where it can.
        number: The label as the list has it, where a file of class names turned it into ``label``; of several labels
            a JSON list in the same order.
    """

    path: Place
    label: str | None
    origin: str
    split: str = ""
    clip_id: str = ""
    frame_table: str = ""
    unreadable: str = ""
    number: str = ""


def is_video_name(name: str) -> bool:
    """Whether a file of this name is taken for a video; hidden ones are not.

    >>> is_video_name("walk.MP4"), is_video_name(".walk.mp4"), is_video_name("walk.txt")
    (True, False, False)
    """
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not name.startswith(".")
