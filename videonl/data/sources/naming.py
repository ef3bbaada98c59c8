"""How sources are named: a path, perhaps with a split, or several with commas between."""

import os
from pathlib import Path

from videonl.data.reading.url_path import Where, where
from videonl.errors import UserError


def locate(source: str, root: Where | None) -> tuple[Path, str | None]:
    """The file or folder of a source, and its split.

    Args:
        source: A path, relative to the root, perhaps with ``#split``.
        root: The folder, by default the current one; a URL is none, as sources are then relative to the current one.

    Raises:
        UserError: There is none.
    """
    if isinstance(root, Path) and not os.path.isdir(root):
        raise UserError(f"{root}: no such folder. Correct --data.root.")
    base = root if isinstance(root, Path) else Path()
    whole = base / os.path.expanduser(source)
    if os.path.lexists(whole):  # a name may contain '#' itself
        return whole, None
    name, hash_sign, split = source.rpartition("#")
    path = base / os.path.expanduser(name)
    if hash_sign and os.path.lexists(path):
        return path, split
    where(source)  # says so where it is meant for a URL
    missing = path if hash_sign else whole
    hint = f" (relative sources are relative to --data.root {root})" if root else ""
    raise UserError(f"{missing}: no such folder or list file{hint}. Name a folder of class folders, or a CSV list.")


def apart(text: str) -> list[str]:
    """The sources in a text, with commas between, of which names may contain some: the longest that exists is meant."""
    parts = text.split(",")
    for count in range(len(parts), 0, -1):
        source = ",".join(parts[:count]).strip()
        if count == 1 or _exists(source):
            rest = ",".join(parts[count:])
            return [source, *(apart(rest) if rest.strip() else [])]
    return []


def _exists(source: str) -> bool:
    name, _, split = source.rpartition("#")
    return os.path.lexists(os.path.expanduser(source)) or (
        "," not in split and os.path.lexists(os.path.expanduser(name))
    )
