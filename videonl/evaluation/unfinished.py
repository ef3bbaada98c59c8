"""An evaluation that can be interrupted: every video is on disk as soon as it is scored."""

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

    Args:
        path: The file.
        class_names: Names in the order of the logits.
        asked: Plain data that says which evaluation this is.

    Attributes:
        scores: What was there already.

    Raises:
        UserError: The file holds another evaluation, or cannot be written.
    """

    def __init__(self, path: Path, class_names: list[str], asked: Mapping[str, Any]) -> None:
        self.path = path
        self._schema = schema_of(class_names, asked)
        self.scores = self._read() if path.exists() else []

    def __enter__(self) -> Self:
        # Written anew, because nothing can be added after a row that was cut short.
        with whole_path(self.path) as unfinished:
            self._file = pa.OSFile(str(unfinished), "wb")  # stays open when the file gets its name
            self._writer = pa.ipc.new_stream(self._file, self._schema)
            for score in self.scores:
                self.add(score)
        return self

    def add(self, score: VideoScore) -> None:
        """Writes one video."""
        with self._writing():
            self._writer.write_batch(to_rows([score], self._schema))

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

    def _read(self) -> list[VideoScore]:
        scores: list[VideoScore] = []
        try:
            with pa.ipc.open_stream(pa.OSFile(str(self.path))) as stream:
                self._check(stream.schema)
                for rows in stream:
                    scores.extend(from_rows(rows, metadata_of(self._schema)))
        except (pa.ArrowException, OSError):
            pass  # the end of what was written whole
        return scores

    def _check(self, schema: pa.Schema) -> None:
        if not schema.equals(self._schema, check_metadata=True):
            raise UserError(
                f"{self.path} is an unfinished evaluation of another checkpoint, other videos or other views; choose "
                "another --out, or remove it to start from scratch"
            )
