"""A line of a list without a header: ``path label``, ``path,label``, a bare path, or ``folder num_frames label``."""

import os
import re
from collections.abc import Sequence

from videonl.data.reading.url_path import Where
from videonl.data.sources.entry import VIDEO_SUFFIXES, is_video_name
from videonl.data.sources.list_lines import Line, fields_of, separator_of
from videonl.errors import UserError

_QUOTED_PATH = re.compile(r"""(?P<quote>["'])(?P<path>((?!(?P=quote)).)+)(?P=quote)(?P<rest>([ \t].*)?)""")
_QUOTED_LABEL = re.compile(r"""(?P<path>.+?)(?<![,;])[ \t]+(?P<quote>["'])(?P<label>[^"']+)(?P=quote)""")
_NUMBERS_AFTER = re.compile(
    rf"(?P<path>\S.*?(?:{'|'.join(re.escape(suffix) for suffix in sorted(VIDEO_SUFFIXES))}))(?P<numbers>( +\d+)+)",
    re.IGNORECASE,
)


def parse_row(line: Line, base: Where) -> tuple[str, str]:
    """The path and the label of a line; the label is empty where there is but a path.

    Paths may contain spaces: the label is the last word. After a comma, semicolon or tab it may be several.

    Args:
        line: The line.
        base: What relative paths are relative to: whether a folder of frames is there may settle what is meant.

    Raises:
        UserError: The line may mean several things, or holds what is not read yet.
    """
    text, separator = line.text, separator_of(line.text)
    if separator == "\t":
        return _of_fields(line, separator)
    if quoted := _QUOTED_PATH.fullmatch(text):
        return quoted["path"], _label_after(line, quoted["path"], quoted["rest"].strip())
    quoted = _QUOTED_LABEL.fullmatch(text)
    if quoted and (separator == " " or is_video_name(_last_name(quoted["path"]))):
        return quoted["path"], quoted["label"]
    if is_video_name(_last_name(text)):
        return text, ""
    head, _, label = text.rpartition(" ")
    # Both paths and labels may contain commas and spaces; what ends in a video suffix is certainly the path.
    if head and (separator == " " or is_video_name(_last_name(head.rstrip()))):
        return _of_words(line, head.rstrip(), label, base)
    return _of_fields(line, separator) if separator != " " else (text, "")


def several_numbers(lines: Sequence[Line]) -> list[tuple[str, str]] | None:
    """The rows of mmaction2's lists with several classes a video, ``clip.mp4 1 3 5``; None where they may mean more.

    They are certain where videos have different numbers of classes: times and numbers of frames would be in every row.
    """
    rows = [_NUMBERS_AFTER.fullmatch(line.text) for line in lines]
    if len({len(row["numbers"].split()) for row in rows if row}) < 2:
        return None
    return [(row["path"], ";".join(row["numbers"].split())) for row in rows if row] if all(rows) else None


def _of_fields(line: Line, separator: str) -> tuple[str, str]:
    fields = fields_of(line, separator)
    if len(fields) == 3 and fields[1].isdecimal() and not is_video_name(_last_name(fields[0])) and separator == "\t":
        return fields[0], fields[2]  # a folder of frames, their number, the label
    if len(fields) > 2:
        raise UserError(
            f"{line.origin}: {len(fields)} columns and no header that names path and label. Begin the file with one; "
            "if the first line is one, name its columns: --data.columns path=NAME,label=NAME (or --columns)."
        )
    return fields[0], fields[1] if len(fields) == 2 else ""


def _of_words(line: Line, head: str, label: str, base: Where) -> tuple[str, str]:
    if is_video_name(_last_name(head)) or " " not in head or os.path.exists(str(base / head)):
        return head, label
    words = line.text.split(" ")
    names = [" ".join(words[:count]) for count in range(1, len(words) - 1)]
    video = next((name for name in names if is_video_name(_last_name(name))), None)
    # Else it may be a folder of frames, after which its number of frames stands.
    before = [name for name in names if words[len(name.split(" "))].isdecimal() and os.path.isdir(str(base / name))]
    start = video or (before[-1] if before else None)
    if start is None:
        return head, label
    return start, _label_after(line, start, line.text.removeprefix(start).strip())


def _label_after(line: Line, path: str, rest: str) -> str:
    """The label among what follows a path that is known to end there."""
    words = rest.split(" ")
    if len(words) == 2 and words[0].isdecimal() and not is_video_name(_last_name(path)):
        return words[1]  # after a folder of frames, their number
    if rest[:1] in ("'", '"') and rest[:1] == rest[-1] and len(rest) > 2:
        return rest[1:-1]
    if len(words) > 1:
        raise UserError(
            f"{line.origin}: after {path} there are {len(words)} words: {rest!r}. A label of several words needs a "
            "comma or a tab before it; several labels are written 1;3;5, and parts of a video need a header that names "
            "path, label, start and end."
        )
    return rest


def _last_name(path: str) -> str:
    return path.rpartition("/")[2]
