"""Names of any length as pictures, folders and files can take them."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

MOST_SHOWN = 40  # characters in pictures; the longest name of Kinetics-400 has 38
_MOST_BYTES = 120  # of a file's name, which has 255, and other parts


def shortened(name: str, most: int = MOST_SHOWN) -> str:
    """A name on one line without its middle, as what tells names apart may stand at either end.

    Args:
        name: Any text.
        most: Characters to keep, at least 1, the ellipsis among them.

    >>> shortened("a person who opens an umbrella in the rain", most=15)
    'a perso…he rain'
    """
    name = " ".join(name.split())
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return name[: most - 1 - tail] + "…" + name[len(name) - tail :]


def file_part(name: str, number: int) -> str:
    """A name as a part of a file's name; with its number where characters had to be replaced or left out.

    >>> [file_part(name, 7) for name in ("hug", "in/out")]
    ['hug', 'in-out_7']
    """
    kept = re.sub(r"[^\w.-]+", "-", name).encode()[:_MOST_BYTES].decode(errors="ignore")
    return kept if kept == name else f"{kept}_{number}"


def file_names(paths: Sequence[str]) -> list[str]:
    """A name without a suffix for each of some paths, to write one file for each: no two are equal, in any case.

    A name is that of the file alone where this tells it from the others, else with its folder, else with its suffix
    too, else with a hash of the path. It does not depend on the order of the paths.

    >>> file_names(["a/walk.mp4", "b/walk.mp4", "a/run.mp4", "a/run.avi"])
    ['a-walk', 'b-walk', 'a-run.mp4', 'a-run.avi']
    """
    chosen: dict[int, str] = {}
    taken: set[str] = set()
    for form in (_stem, _with_folder, _with_suffix, _with_hash):
        made = {index: form(path) for index, path in enumerate(paths) if index not in chosen}
        counts = Counter(name.casefold() for name in made.values())
        for index, name in made.items():
            is_plain = form is _with_hash or file_part(name, 0) == name
            if is_plain and counts[name.casefold()] == 1 and name.casefold() not in taken:
                chosen[index] = name
        taken |= {name.casefold() for name in chosen.values()}
    return [chosen[index] for index in range(len(paths))]


def _stem(path: str) -> str:
    return PurePath(path).stem


def _with_folder(path: str) -> str:
    return f"{PurePath(path).parent.name}-{PurePath(path).stem}"


def _with_suffix(path: str) -> str:
    return f"{PurePath(path).parent.name}-{PurePath(path).name}"


def _with_hash(path: str) -> str:
    digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:12]
    return f"{file_part(PurePath(path).stem, 0).removesuffix('_0')}_{digest}"
