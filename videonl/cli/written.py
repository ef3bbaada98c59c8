"""What is shown so often that it stands in files: helps, and the sizes of the networks.

To find out either takes torch, which takes seconds to import. ``scripts/write_shown.py`` writes the files, and the
tests hold them equal to what they stand for.
"""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videonl.cli.commands import COMMANDS
from videonl.cli.parsed_command import run_command

FOLDER = Path(__file__).parent / "written"
NETWORKS = FOLDER / "models.json"
COLUMNS = 100  # of the helps
FORMS = [(name,) for name in COMMANDS] + [("bench", form) for form in ("blocks", "data", "model", "windows")]


def written_help(command: str, words: Sequence[str]) -> str | None:
    """The help of a command, where nothing else stands on the command line that it might depend on.

    >>> written_help("report", ["--help"]).splitlines()[0]
    'usage: videonl report [--config CONFIG] [--out OUT] [--average AVERAGE]'
    >>> written_help("report", ["a.parquet", "--help"])
    """
    *form, last = words or [""]
    if last not in ("-h", "--help") or (command, *form) not in FORMS:
        return None
    return file_of(command, *form).read_text(encoding="utf-8")


def file_of(*form: str) -> Path:
    """Where the help of a command, or of one of its forms, is written."""
    return FOLDER / f"{'_'.join(form)}.txt"


def parsed_help(command: str, *form: str) -> str:
    """The help that the parser of a command makes of its options, as wide as the variable COLUMNS says."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        run_command(command, COMMANDS[command], [*form, "--help"])
    return shown.getvalue()


def written_networks() -> dict[str, dict[str, Any]]:
    """Backbones and blocks as :func:`videonl.cli.described.describe` has them."""
    networks: dict[str, dict[str, Any]] = json.loads(NETWORKS.read_text(encoding="utf-8"))
    return networks
