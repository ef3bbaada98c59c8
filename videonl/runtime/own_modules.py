"""A user's own modules, found in the folder of whatever named them, in this process and in the workers it starts.

They are found by their names alone: the folder is not put on the path, where a ``random.py`` of a stranger's would be
found too.
"""

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any


class _Beside:
    """Finds some modules in their folders, where there are none of that name elsewhere."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self.folders = dict(folders)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        folder = self.folders.get(name)
        return PathFinder.find_spec(name, [folder]) if folder else None


def find_own_modules(folders: Mapping[str, str]) -> None:
    """Has modules found in folders from now on.

    Args:
        folders: The folder of each module or package, by its name. A later one of the same name goes first.
    """
    if folders:
        beside = _Beside({**folders_of_own_modules(), **folders})
        sys.meta_path[:] = [*(finder for finder in sys.meta_path if not isinstance(finder, _Beside)), beside]


def folders_of_own_modules() -> dict[str, str]:
    """What :func:`find_own_modules` was told, for another process to be told too."""
    return {
        name: folder
        for finder in sys.meta_path
        if isinstance(finder, _Beside)
        for name, folder in finder.folders.items()
    }
