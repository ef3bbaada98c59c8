"""Several labels of one video, as one text: a JSON list, unless it is just one label."""

import ast
import json
import re
from collections.abc import Iterable
from typing import Any

from videonl.errors import UserError

_NUMBERS = re.compile(r"-?\d+([ ,]+-?\d+)+")


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in a text: one, ``a;b``, ``a|b``, ``3,5``, a JSON list, or one of Python, as pandas writes it.

    Each is named once, in the order of the text.

    >>> labels_of('["run", "wave"]'), labels_of("run;wave"), labels_of("run|wave"), labels_of("3,5")
    (('run', 'wave'), ('run', 'wave'), ('run', 'wave'), ('3', '5'))
    >>> labels_of("['run', 'wave']"), labels_of("[]"), labels_of("walk the dog")
    (('run', 'wave'), (), ('walk the dog',))

    Raises:
        ValueError: It begins as a list but is none of texts and integers.
    """
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return _distinct(_listed(text))
    parts = re.split(r"[;|]", text)
    if len(parts) == 1 and _NUMBERS.fullmatch(text):
        parts = re.split(r"[ ,]+", text)
    return _distinct(parts)


def joined(labels: Iterable[str]) -> str:
    """Labels as one text, of which :func:`labels_of` is the inverse: one label as it is, else a JSON list.

    >>> joined(["run", "wave"]), joined(["run"]), joined([]), joined(["a;b"])
    ('["run", "wave"]', 'run', '[]', '["a;b"]')
    """
    labels = list(labels)
    if len(labels) == 1 and not looks_like_several(labels[0]):
        return labels[0]
    return json.dumps(labels, ensure_ascii=False)


def as_one_text(label: str, origin: str) -> str:
    """A label as a list has it, as :func:`joined` writes it.

    Args:
        label: One label, or several in any notation.
        origin: Where it was written, for the message.

    Raises:
        UserError: It begins as a list of labels but is none.
    """
    if not looks_like_several(label):
        return label
    try:
        return joined(labels_of(label))
    except ValueError as error:
        raise UserError(f"{origin}: {error}.") from error


def looks_like_several(text: str) -> bool:
    """Whether a text is written as several labels are.

    >>> [looks_like_several(text) for text in ("run", "run;wave", "3 5", "[run", '["run"]')]
    [False, True, True, False, True]
    """
    return bool(re.fullmatch(r".*[;|].*|\[.*\]", text.strip()) or _NUMBERS.fullmatch(text.strip()))


def check_one_label(label: str, origin: str) -> None:
    """Refuses several labels where a video has one.

    Args:
        label: A label as :func:`joined` writes it.
        origin: Where it was written, for the message.

    Raises:
        UserError: Naming it.
    """
    if label == "[]":
        raise UserError(
            f"{origin}: has no class, but one is required here. Give it one, leave it out, or train with "
            "--task multi_label."
        )
    try:
        labels = labels_of(label) if label.startswith("[") else ()
    except ValueError:  # a class folder may be called so
        return
    if len(labels) > 1:
        raise UserError(
            f"{origin}: {';'.join(labels)!r} looks like several labels, but only one per video is supported here. "
            "Train with --task multi_label, keep one, or, if it is a single label, rename it."
        )


def _listed(text: str) -> list[str]:
    values: Any
    try:
        values = json.loads(text)
    except ValueError:
        try:
            values = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values = None
    if not isinstance(values, list) or not all(type(value) in (str, int) for value in values):
        raise ValueError(f'{text!r} is no list of labels. Write ["run", "wave"], or run;wave')
    return [str(value) for value in values]


def _distinct(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
