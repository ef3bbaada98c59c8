"""metrics.csv, one for a run, however often the run was interrupted."""

import csv
import io
import os
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from videonl.errors import UserError
from videonl.files import whole_file
from videonl.outputs import cannot_write
from videonl.training.checkpoint_files import RESUME
from videonl.training.lightning_internals import newest_version


class MetricsFile(ExperimentWriter):
    """Rows of metrics, appended to what the file holds.

    Args:
        log_dir: Folder of metrics.csv.
    """

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self.path = Path(self.metrics_file_path)
        self.metrics_keys, rows = self._content()
        self._num_rows = len(rows)

    def rewind(self, num_rows: int) -> None:
        """Drops all rows but the first."""
        keys, rows = self._content()
        if len(rows) > num_rows:
            self._write(keys, rows[:num_rows])
            self._num_rows = num_rows

    def save(self) -> None:
        """Appends the rows that were logged since the last time.

        Raises:
            UserError: The file cannot be written.
        """
        num_new = len(self.metrics)
        try:
            super().save()
        except OSError as error:
            raise UserError(f"{cannot_write(self.path, error)}. {RESUME}") from error
        self._num_rows += num_new

    def settle(self) -> int:
        """Sees all rows to the disk, and returns their number."""
        self.save()
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        return self._num_rows

    def _check_log_dir_exists(self) -> None:
        """Lightning would delete the file."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._write(fieldnames, self._content()[1])

    def _content(self) -> tuple[list[str], list[dict[str, str]]]:
        if not self.path.exists():
            return [], []
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        return list(reader.fieldnames or []), rows

    def _write(self, keys: list[str], rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, keys)
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(self.path) as file:
            file.write(text.getvalue().encode())


class ContinuedCSVLogger(CSVLogger):
    """Logs to ``save_dir/name/version_N/metrics.csv``; a resumed run goes on in the newest of these.

    Args:
        save_dir: Folder of the run.
        name: Folder within it.
        continued: Go on in the newest version instead of beginning another.
    """

    def __init__(self, save_dir: str, name: str, continued: bool = False) -> None:
        super().__init__(save_dir, name)
        self.continued = continued
        if continued:
            self._version = newest_version(self)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The :class:`MetricsFile`, in the first process."""
        if self._experiment is None:
            self._experiment = MetricsFile(self.log_dir)
        return self._experiment
