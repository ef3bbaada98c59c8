"""A list as its format sees it: its lines, the fields of its rows, or the JSON that it is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from videonl.data.reading.url_path import Where
from videonl.data.sources.list_lines import Line, fields_of, separator_of
from videonl.data.sources.options import Reading
from videonl.errors import UserError


@dataclass(frozen=True)
class ListFile:
    """A list file that is not empty.

    Args:
        path: The file.
        lines: Its lines, without blank ones and comments.
        reading: What the user says about it.
    """

    path: Path
    lines: Sequence[Line]
    reading: Reading

    @property
    def base(self) -> Where:
        """What relative paths are relative to, and below which the files of official lists are."""
        return self.reading.root or self.path.parent

    @property
    def is_json(self) -> bool:
        """Whether it begins as JSON does."""
        first = self.lines[0].text
        return first in ("{", "[", "{}", "[]") or first.startswith(('{"', "[{", '["'))

    @cached_property
    def content(self) -> Any:
        """What the JSON holds.

        Raises:
            UserError: It is cut off, or damaged.
        """
        try:
            return json.loads("\n".join(line.text for line in self.lines))
        except (ValueError, RecursionError) as error:
            if len(self.lines) > 1 and _is_json(self.lines[0].text):
                raise UserError(
                    f"{self.path}: has JSON in every line, which is not read. Write a list with one 'path label' per "
                    "line."
                ) from error
            raise UserError(f"{self.path}: is no whole JSON ({error}). Copy it again.") from error

    @cached_property
    def separator(self) -> str:
        """What is between the columns of the first line."""
        return separator_of(self.lines[0].text)

    @cached_property
    def names(self) -> list[str]:
        """The fields of the first line: if it is a header, what the columns are called."""
        return [] if self.is_json else fields_of(self.lines[0], self.separator)

    @property
    def words(self) -> frozenset[str]:
        """What the columns are called, without capitals."""
        return frozenset(name.lower() for name in self.names)

    @property
    def body(self) -> Sequence[Line]:
        """The lines after the header.

        Raises:
            UserError: There are none.
        """
        if len(self.lines) < 2:
            raise UserError(f"{self.path}: no videos listed. Write one 'path label' per line.")
        return self.lines[1:]

    def fields(self, line: Line) -> list[str]:
        """As many as the header has; a short row ends in empty ones.

        Raises:
            UserError: There are more.
        """
        num_columns = len(self.names)
        fields = fields_of(line, self.separator) if num_columns > 1 else [line.text.strip('"')]
        if any(fields[num_columns:]):
            raise UserError(
                f"{line.origin}: {len(fields)} columns, but the header names {num_columns}: {line.text!r}. Put a path "
                "or label that holds the separator into double quotes."
            )
        return [*fields[:num_columns], *[""] * (num_columns - len(fields))]

    def rows(self) -> list[tuple[str, Mapping[str, str]]]:
        """Where each row is, for messages, and its columns by their names without capitals."""
        names = [name.lower() for name in self.names]
        return [(line.origin, dict(zip(names, self.fields(line), strict=True))) for line in self.body]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
