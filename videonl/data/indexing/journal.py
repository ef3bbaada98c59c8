"""What is known so far, one line per file, so that work that was interrupted goes on where it was."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from videonl.data.indexing.index_file import IndexRow

JOURNAL_SUFFIX = ".part.jsonl"


class Journal:
    """Records appended to a file as they are found; a last line that was cut off is ignored.

    Args:
        path: The file; it is deleted when the work is done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def beside(index: Path) -> "Journal":
        """The journal of an index that is being made."""
        return Journal(index.with_name(f"{index.name}{JOURNAL_SUFFIX}"))

    def read(self) -> list[IndexRow]:
        """The records of an interrupted run; none where there was none."""
        if not self.path.exists():
            return []
        return list(_records(self.path.read_bytes()))

    @contextmanager
    def writing(self) -> Iterator["Journal"]:
        """Open it for appending."""
        self._mend()
        with self.path.open("ab") as self._file:
            yield self

    def append(self, record: IndexRow) -> None:
        """Add a record, so that it outlives this process."""
        self._file.write(json.dumps(asdict(record)).encode() + b"\n")
        self._file.flush()

    def delete(self) -> None:
        """Delete it, when the index has all of it."""
        self.path.unlink(missing_ok=True)

    def _mend(self) -> None:
        """Cut off an unfinished last line, lest the next one is appended to it."""
        if self.path.exists():
            whole = self.path.read_bytes().rpartition(b"\n")
            os.truncate(self.path, len(whole[0]) + len(whole[1]))


def _records(content: bytes) -> Iterator[IndexRow]:
    for line in content.rpartition(b"\n")[0].splitlines():
        yield IndexRow(**json.loads(line))
