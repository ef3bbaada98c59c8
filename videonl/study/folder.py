"""The folder of a study: its record, and what is known of each of its cells."""

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from videonl.errors import UserError
from videonl.files import LOCK, write_text
from videonl.runtime.watch import has_ended
from videonl.study.plan import Cell, Study, differing_keys

RECORD = "study.json"
_FORMAT = 1
_ATTEMPTS = 50  # to write what another part of the study may be writing at this moment
State = Literal["waiting", "fitting", "testing", "interrupted", "failed", "finished"]


@dataclass(frozen=True)
class Progress:
    """What a cell's last runner wrote down.

    Attributes:
        state: What the cell is at.
        host: The machine that it ran on.
        process: The number of the runner's process there.
        reason: Why it failed, with the end of its log.
    """

    state: State
    host: str = ""
    process: int = 0
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether its runner is known to be gone without having said so; of another machine nothing is known."""
        return self.state in ("fitting", "testing") and self.host == socket.gethostname() and has_ended(self.process)


@dataclass(frozen=True)
class CellFolder:
    """The folder of a cell, which is that of its run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def lock(self) -> Path:
        """Whoever holds it runs the cell."""
        return self.path / f".study{LOCK}"

    @property
    def record(self) -> Path:
        """The record of the test, which is there when the cell is finished."""
        return self.path / "test.parquet"

    @property
    def is_trained(self) -> bool:
        """Whether the training ended well."""
        return (self.path / "trained").is_file()

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_trained and self.record.is_file()

    @property
    def state(self) -> State:
        """What the cell is at."""
        if self.is_finished:
            return "finished"
        progress = self.progress
        return "interrupted" if progress.is_over else progress.state

    @property
    def progress(self) -> Progress:
        """What was written down last."""
        try:
            return Progress(**json.loads((self.path / "progress.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # there is none yet
            return Progress("waiting")

    def note(self, state: State, reason: str = "") -> None:
        """Writes down what the cell is at."""
        content = {"state": state, "host": socket.gethostname(), "process": os.getpid(), "reason": reason}
        write_text(self.path / "progress.json", json.dumps(content, indent=2) + "\n")

    def note_trained(self) -> None:
        """Writes down that the training ended well."""
        write_text(self.path / "trained", "the training of this cell is complete\n")

    def write_configurations(self, cell: Cell) -> None:
        """Writes fit.yaml and test.yaml, with which the cell can be repeated by hand."""
        run = {**cell.fit.get("run", {}), "dir": str(self.path), "overwrite": False}
        fit = {**cell.fit, "seed_everything": cell.seed, "run": run}
        write_text(self.path / "fit.yaml", yaml.safe_dump(fit, sort_keys=False))
        write_text(self.path / "test.yaml", yaml.safe_dump({"extends": "fit.yaml", **cell.test}, sort_keys=False))


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study.

    Attributes:
        path: The folder.
    """

    path: Path

    def of(self, cell: Cell) -> CellFolder:
        """The folder of a cell."""
        return CellFolder(self.path / "cells" / cell.name)

    def begin(self, study: Study) -> None:
        """Writes the record of the study, which may have grown by variants, folds or seeds since.

        Raises:
            UserError: The folder holds another study.
        """
        known = self.read() if (self.path / RECORD).is_file() else None
        if known is not None:
            _require_same(self.path, known, study)
            if len(known.cells) > len(study.cells):  # its other cells stay part of it
                return
        text = json.dumps({"format": _FORMAT, **study.as_data()}, indent=1) + "\n"
        for attempt in range(_ATTEMPTS):
            try:
                write_text(self.path / RECORD, text)
                return
            except UserError:  # parts of a study start at the same time
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.1)

    def read(self) -> Study:
        """The study.

        Raises:
            UserError: The folder holds none.
        """
        path = self.path / RECORD
        if not path.is_file():
            raise UserError(f"{self.path} holds no study: {path} does not exist; give the --out of videonl study")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format") != _FORMAT:
                raise ValueError("it was written by another version of videonl")
            return Study.from_data(content)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise UserError(f"{path} is not the record of a study ({error})") from error


def _require_same(path: Path, known: Study, study: Study) -> None:
    """Refuses a study that has other cells of the same names than the one in the folder, or lacks some and has others.

    Raises:
        UserError: Naming a cell and a setting.
    """
    before, now = ({cell.name: cell for cell in each.cells} for each in (known, study))
    another = f"{path} holds another study"
    remedy = "choose another --out"
    for name in [name for name in before if name in now]:
        if keys := differing_keys(_settings(before[name]), _settings(now[name])):
            raise UserError(f"{another}: cell {name} has another {keys[0]} there; {remedy}")
    if before.keys() - now.keys() and now.keys() - before.keys():
        raise UserError(f"{another}: it has {_first(before, now)} and not {_first(now, before)}; {remedy}")


def _settings(cell: Cell) -> Mapping[str, Any]:
    # As they come back from a file.
    settings: Mapping[str, Any] = json.loads(json.dumps({**cell.fit, "test": cell.test}))
    return settings


def _first(cells: Mapping[str, Cell], others: Mapping[str, Cell]) -> str:
    return next(name for name in cells if name not in others)
