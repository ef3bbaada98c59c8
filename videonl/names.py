"""Names of any length as pictures, folders and files can take them."""

import re

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
