"""An evaluation that can be interrupted: every video is on disk as soon as it is scored."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from typing_extensions import Self

from videonl.errors import UserError
from videonl.evaluation.record_rows import from_rows, metadata_of, schema_of, to_rows
from videonl.evaluation.views import VideoScore
from videonl.files import whole_path
from videonl.outputs import cannot_write


class UnfinishedEvaluation:
    """An Arrow stream to which one video after the other is added, a context manager.

    The same rows as in the record, which a Parquet file could hold only once it is complete. A row that was being
    written when the power went is dropped and scored again.

    Of several processes, each has a file of its own beside that of process 0, which takes over what is in all of them.

    Args:
        path: The file, or that of process 0.
        class_names: Names in the order of the logits.
        asked: Plain data that says which evaluation this is.
        rank: Number of this process.

    Attributes:
        path: The file of this process.
        scores: What was there already, one score for each video; of processes other than 0 nothing.

    Raises:
        UserError: The file holds another evaluation, or cannot be written.
    """

    def __init__(self, path: Path, class_names: list[str], asked: Mapping[str, Any], rank: int = 0) -> None:
        self.path = _part_of(path, rank)
        self._schema = schema_of(class_names, asked)
        self._others = [] if rank else _parts_beside(path)
        parts = [] if rank else [path, *self._others]
        known = {score.video: score for part in parts if part.exists() for score in self.read(part)}
        self.scores = list(known.values())

    def __enter__(self) -> Self:
        # Written anew, because nothing can be added after a row that was cut short.
        with whole_path(self.path) as unfinished:
            self._file = pa.OSFile(str(unfinished), "wb")  # stays open when the file gets its name
            self._writer = pa.ipc.new_stream(self._file, self._schema)
            for score in self.scores:
                self.add(score)
        for other in self._others:  # what it holds is in this one now
            other.unlink(missing_ok=True)
        return self

    def add(self, score: VideoScore) -> None:
        """Writes one video."""
        with self._writing():
            self._writer.write_batch(to_rows([score], self._schema))

    def of_others(self, world_size: int) -> list[Path]:
        """The files of the processes other than 0."""
        self._others = [_part_of(self.path, rank) for rank in range(1, world_size)]
        return self._others

    def remove(self) -> None:
        """Removes the files of all processes, when the results are written."""
        for part in (*self._others, self.path):
            part.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file, self._writing():
            self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def read(self, part: Path) -> list[VideoScore]:
        """What a file of this evaluation holds, up to a row that was cut short."""
        scores: list[VideoScore] = []
        try:
            with pa.ipc.open_stream(pa.OSFile(str(part))) as stream:
                self._check(stream.schema, part)
                for rows in stream:
                    scores.extend(from_rows(rows, metadata_of(self._schema)))
        except (pa.ArrowException, OSError):
            pass  # the end of what was written whole
        return scores

    def _check(self, schema: pa.Schema, part: Path) -> None:
        if not schema.equals(self._schema, check_metadata=True):
            raise UserError(
                f"{part} is an unfinished evaluation of another checkpoint, other videos or other views; choose "
                "another --out, or remove it to start from scratch"
            )


def _part_of(path: Path, rank: int) -> Path:
    """The file of a process beside that of process 0.

    >>> _part_of(Path("found.csv.part"), 3).name
    'found.csv.3.part'
    """
    return path.with_name(f"{path.stem}.{rank}{path.suffix}") if rank else path


def _parts_beside(path: Path) -> list[Path]:
    """Those of other processes, of however many there were."""
    name = re.compile(rf"{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}")
    return [beside for beside in path.parent.glob(f"*{path.suffix}") if name.fullmatch(beside.name)]
