"""List files: ``path label``, ``path,label``, with or without a header; mmaction2's ``folder num_frames label``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from videonl.data.reading.shard_member import is_url
from videonl.data.sources.class_names import named_by_file
from videonl.data.sources.entry import LabeledPath, is_video_name
from videonl.data.sources.header import Header, header_of, names_columns
from videonl.data.sources.kinetics import is_kinetics_header, read_kinetics
from videonl.data.sources.list_lines import Line, check_length, content_lines, fields_of, separator_of
from videonl.data.sources.official import is_ucf101, read_something, read_ucf101
from videonl.data.sources.rows import parse_row
from videonl.data.sources.several import joined, labels_of, looks_like_several
from videonl.errors import UserError

_NUM_PROBED_FILES = 20
_NUM_SHOWN = 10


def read_list(path: Path, split: str | None, root: Path | None, classes: Path | None = None) -> list[LabeledPath]:
    """Read a list file; see :func:`videonl.data.sources.labeled.read_source` for what it may hold.

    Args:
        path: The file.
        split: The value of the column ``split`` to select; all rows without it.
        root: What relative paths are relative to; by default the folder of the file.
        classes: A file of the names that numeric labels stand for; by default ``classes.txt`` beside the list.

    Raises:
        UserError: The list is malformed, empty, has no such split, or none of the first files exists.
    """
    lines = content_lines(path)
    base = root or path.parent
    if not lines:
        raise UserError(f"{path}: no videos listed. Write one 'path label' per line.")
    if lines[0].text in ("{", "[") or lines[0].text.startswith(('{"', "[{", '["')):
        everything = read_something(path, "\n".join(line.text for line in lines), base)
        _check_files(path, everything, base)
        _check_split(path, split, [])
        return everything
    if is_ucf101(path, lines):
        everything = read_ucf101(path, lines, base)
        _check_files(path, everything, base)
        _check_split(path, split, [])
        return everything
    separator = separator_of(lines[0].text)
    names = fields_of(lines[0], separator)
    lowered = [name.lower() for name in names]
    if is_kinetics_header(lowered):
        rows = [(line.origin, _by_name(lowered, line, separator)) for line in _rows(path, lines)]
        everything = read_kinetics(path, rows, base)
    elif names_columns(names):
        header = header_of(names, lines[0].origin)
        everything = [_by_header(line, header, separator, base) for line in _rows(path, lines)]
        _check_files(path, everything, base)
    else:
        everything = _without_header(lines, base)
        _check_files(path, everything, base)
    entries = [entry for entry in everything if split is None or entry.split == split]
    _check_split(path, split, [entry.split for entry in everything])
    return named_by_file(entries, path, classes)


def shorten(names: Sequence[str]) -> str:
    """The first few names, with commas between.

    >>> shorten(["run", "walk"])
    'run, walk'
    """
    return ", ".join(names[:_NUM_SHOWN]) + (", ..." if len(names) > _NUM_SHOWN else "")


def _rows(path: Path, lines: Sequence[Line]) -> Sequence[Line]:
    if len(lines) < 2:
        raise UserError(f"{path}: no videos listed. Write one 'path label' per line.")
    return lines[1:]


def _by_name(names: Sequence[str], line: Line, separator: str) -> Mapping[str, str]:
    return dict(zip(names, _fields(line, separator, len(names)), strict=True))


def _fields(line: Line, separator: str, num_columns: int) -> list[str]:
    """As many as the header has; a short row ends in empty ones."""
    fields = fields_of(line, separator) if num_columns > 1 else [line.text.strip('"')]
    if any(fields[num_columns:]):
        raise UserError(
            f"{line.origin}: {len(fields)} columns, but the header names {num_columns}: {line.text!r}. Put a path or "
            "label that holds the separator into double quotes."
        )
    return [*fields[:num_columns], *[""] * (num_columns - len(fields))]


def _by_header(line: Line, header: Header, separator: str, base: Path) -> LabeledPath:
    if separator == " " and (header.path, header.label, len(header.names)) == (0, 1, 2):
        return _entry(line, *parse_row(line, base), "", base)  # a path may contain spaces
    fields = _fields(line, separator, len(header.names))
    label = None if header.label is None else fields[header.label]
    return _entry(line, fields[header.path], label, "" if header.split is None else fields[header.split], base)


def _without_header(lines: Sequence[Line], base: Path) -> list[LabeledPath]:
    pairs = [parse_row(line, base) for line in lines]
    _refuse_header(lines[0], pairs, base)
    is_bare = not any(label for _, label in pairs)
    return [
        _entry(line, video, None if is_bare else label, "", base)
        for line, (video, label) in zip(lines, pairs, strict=True)
    ]


def _refuse_header(first: Line, pairs: Sequence[tuple[str, str]], base: Path) -> None:
    """A first line that is no video, although the others are, names columns in words that are not known here."""
    (video, label), others = pairs[0], pairs[1:_NUM_PROBED_FILES]
    if "/" in video or label.removeprefix("-").isdecimal() or label in (other for _, other in others):
        return
    if others and not _is_video(video, base) and all(_is_video(other, base) for other, _ in others):
        raise UserError(
            f"{first.origin}: {first.text!r} looks like a header, but not one that names path and label; "
            f"if it is a video, {base / video} is missing. Name the columns path and label, or remove the line."
        )


def _is_video(name: str, base: Path) -> bool:
    return is_video_name(Path(name).name) or os.path.exists(base / name)


def _entry(line: Line, video: str, label: str | None, split: str, base: Path) -> LabeledPath:
    if not video or label == "":
        raise UserError(
            f"{line.origin}: needs a path and a label, got {line.text!r}. Write 'path label' or 'path,label'."
        )
    if is_url(video):
        raise UserError(f"{line.origin}: {video} is a URL, but lists hold files. Download it, or pack shards.")
    check_length(video, line.origin)
    return LabeledPath(base / os.path.expanduser(video), _written(label, line.origin), line.origin, split)


def _written(label: str | None, origin: str) -> str | None:
    """A label as it is passed on: several as a JSON list."""
    if label is None or not looks_like_several(label):
        return label
    try:
        return joined(labels_of(label))
    except ValueError as error:
        raise UserError(f"{origin}: {error}.") from error


def _check_split(path: Path, split: str | None, splits: Sequence[str]) -> None:
    if split is None or split in splits:
        return
    if not any(splits):
        raise UserError(f"{path}: '#{split}' needs a header row with a column 'split', but there is none.")
    raise UserError(f"{path}: no rows with split {split!r}. The splits are: {shorten(sorted(set(splits)))}.")


def _check_files(path: Path, entries: Sequence[LabeledPath], base: Path) -> None:
    # Every file is not checked: on network storage that takes minutes, and the reader reports a missing one by name.
    paths = [Path(str(entry.path)) for entry in entries[:_NUM_PROBED_FILES]]
    if any(map(os.path.exists, paths)):
        return
    if any("\\" in str(video) for video in paths):
        remedy = "Write / between folders, not the backslashes of Windows."
    elif not any(video.is_relative_to(base) for video in paths):
        remedy = "The paths are absolute, so no root applies to them: correct them."
    else:
        remedy = f"Relative paths were resolved against {base}; set --data.root (or --root) to their base folder."
    label = "no label" if entries[0].label is None else f"the label {entries[0].label!r}"
    raise UserError(
        f"{path}: none of the first files listed exists. {entries[0].origin} was read as {paths[0]} with {label}. "
        f"{remedy}"
    )
