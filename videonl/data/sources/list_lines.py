"""The lines of a list file, and the fields of a line."""

import codecs
import csv
import logging
import re
from pathlib import Path
from typing import NamedTuple

from videonl.data.sources.entry import is_video_name
from videonl.errors import UserError

_NAME_BYTES, _PATH_BYTES = 255, 4095  # what Linux and its file systems allow
# Within a name there may be other characters that Unicode calls a line's end or a space.
_LINE_END = re.compile(r"\r\n|\r|\n")
_BLANK = " \t\v\f"
_FOR_EXCEL = re.compile(r"sep=[,;\t|]?")  # a first line that tells spreadsheets what separates the columns
_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """A line with something in it, and where it is, such as ``clips.csv:12``."""

    text: str
    origin: str


def content_lines(path: Path) -> list[Line]:
    """The lines of a list, without blank ones and comments; a warning tells of comments that look like videos.

    Raises:
        UserError: It is no text, or a line holds a NUL byte.
    """
    text = _text_of(path)
    lines = [Line(line.strip(_BLANK), f"{path}:{number}") for number, line in enumerate(_LINE_END.split(text), start=1)]
    for line in lines:
        if "\0" in line.text:
            raise UserError(f"{line.origin}: has a NUL byte ({line.text!r}). Save the list as UTF-8 text, without it.")
    _tell_of_comments(path, [line for line in lines if line.text.startswith("#")])
    kept = [line for line in lines if line.text and not line.text.startswith("#")]
    return kept[1:] if kept and _FOR_EXCEL.fullmatch(kept[0].text) else kept


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}). Name a list of 'path label' lines."
        ) from error
    except UnicodeDecodeError as error:
        if b"\0" in content and content[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise UserError(f"{path}: not a text file ({error}). Name a list of 'path label' lines.") from error
        name = "UTF-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "LATIN1"
        line = content[: error.start].count(b"\n") + 1
        what = "is UTF-16" if name == "UTF-16" else f"is no UTF-8 from line {line} on"
        raise UserError(
            f"{path}: {what}, and lists are read as UTF-8 text. Save it so, such as by "
            f"iconv -f {name} -t UTF-8 {path.name}"
        ) from error


def separator_of(text: str) -> str:
    r"""What separates the columns of a line: a tab, a comma, a semicolon, or spaces.

    >>> [separator_of(text) for text in ("a b\tc", "a b,c", "path;label", "a b")]
    ['\t', ',', ';', ' ']
    """
    return next((separator for separator in "\t,;" if separator in text), " ")


def fields_of(line: Line, separator: str) -> list[str]:
    """The columns of a line, without quotes and the spaces around.

    Raises:
        UserError: A quote is not closed, or a column is longer than any path or label.
    """
    text = re.sub(r"\s+", " ", line.text, flags=re.ASCII) if separator == " " else line.text
    try:
        row = next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UserError(f"{line.origin}: {error}: {line.text[:80]!r}. Correct the line's quotes.") from error
    return [field.strip(_BLANK) for field in row]


def check_length(path: str, origin: str) -> None:
    """Rejects a path that is too long for a file.

    Raises:
        UserError: It, or a name in it, is too long.
    """
    longest = max(len(name.encode(errors="surrogateescape")) for name in path.split("/"))
    if longest > _NAME_BYTES or len(path.encode(errors="surrogateescape")) > _PATH_BYTES:
        raise UserError(
            f"{origin}: the file name is too long ({longest} bytes, at most {_NAME_BYTES}): {path[:60]!r}..."
        )


def _tell_of_comments(path: Path, comments: list[Line]) -> None:
    alike = [line for line in comments if _names_a_video(line.text)]
    if alike:
        _log.warning(
            "%s: %d lines skipped as comments, because they begin with #, look like videos, such as line %s: %r. "
            'Quote a path that begins with #: "#1.mp4",label',
            path,
            len(alike),
            alike[0].origin.rpartition(":")[2],
            alike[0].text,
        )


def _names_a_video(comment: str) -> bool:
    words = re.split(r"[\s,;]+", comment.lstrip("#"))
    return any(is_video_name(Path(word.strip("\"'")).name) for word in words[:-1])
