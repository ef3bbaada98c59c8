"""A list without a header: ``path label``, ``path,label``, paths alone, or mmaction2's ``folder num_frames label``."""

import os
from collections.abc import Sequence
from pathlib import Path

from videonl.data.reading.url_path import Where
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.list_lines import Line
from videonl.data.sources.rows import parse_row, several_numbers
from videonl.data.sources.table import Written, entries_of
from videonl.errors import UserError

_NUM_PROBED_FILES = 20


def is_plain(file: ListFile) -> bool:
    """Whether it is no JSON: any other text is read as one."""
    return not file.is_json


def read_plain(file: ListFile) -> list[LabeledPath]:
    """The rows of a list without a header.

    Raises:
        UserError: A row is malformed, may mean several things, or the first one looks like a header.
    """
    pairs = several_numbers(file.lines) or [parse_row(line, file.base) for line in file.lines]
    _refuse_header(file.lines[0], pairs, file.base)
    is_bare = not any(label for _, label in pairs)
    return entries_of(
        file,
        [
            Written(line, video, None if is_bare else label)
            for line, (video, label) in zip(file.lines, pairs, strict=True)
        ],
    )


def _refuse_header(first: Line, pairs: Sequence[tuple[str, str]], base: Where) -> None:
    """A first line that is no video, although the others are, names columns in words that are not known here."""
    (video, label), others = pairs[0], pairs[1:_NUM_PROBED_FILES]
    if "/" in video or label.removeprefix("-").isdecimal() or label in (other for _, other in others):
        return
    if others and not _is_video(video, base) and all(_is_video(other, base) for other, _ in others):
        raise UserError(
            f"{first.origin}: {first.text!r} looks like a header, but not one that names path and label; "
            f"if it is a video, {base / video} is missing. Name the columns path and label, or by --data.columns "
            "path=NAME,label=NAME (or --columns), or remove the line."
        )


def _is_video(name: str, base: Where) -> bool:
    return is_video_name(Path(name).name) or os.path.exists(str(base / name))
