"""Processes that import nothing from the folder in which they are started.

An interpreter that begins with ``-c`` looks for modules in the working folder first, those of the standard library too:
a ``random.py`` beside the videos would be run in place of Python's. So begin the servers and processes of
:mod:`multiprocessing`. Python's own remedy, ``-P``, came with 3.11; this one serves all versions.
"""

from collections.abc import Sequence
from multiprocessing import util
from typing import Any

WITHOUT_FOLDER = (
    "import sys; sys.path[:1] = filter(None, sys.path[:1]); "  # ``-c`` puts '' first, unless ``-P`` is given
)

_spawn = util.spawnv_passfds


def start_safely() -> None:
    """Has multiprocessing start all its processes without the working folder in their path, from now on."""
    util.spawnv_passfds = _spawn_safely  # type: ignore[assignment]  # it starts every one of them


def _spawn_safely(path: Any, words: Sequence[Any], handles: Sequence[int]) -> int:
    program = list(words).index("-c") + 1
    return _spawn(path, [*words[:program], WITHOUT_FOLDER + words[program], *words[program + 1 :]], handles)
