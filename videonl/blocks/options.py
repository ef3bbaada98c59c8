"""Checks of block options: wrong options raise at construction and quote the value."""

from collections.abc import Iterable


def require_positive(**sizes: int) -> None:
    """Refuses sizes below 1.

    >>> require_positive(channels=0)
    Traceback (most recent call last):
    ValueError: channels must be at least 1, got 0
    """
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def require_known(known: Iterable[object], **options: object) -> None:
    """Refuses options that are not one of the known values.

    >>> require_known(("add", "multiply"), fusion="ad")
    Traceback (most recent call last):
    ValueError: fusion must be one of add, multiply; got 'ad'
    """
    values = list(known)
    for name, value in options.items():
        if value not in values:
            raise ValueError(f"{name} must be one of {', '.join(map(str, values))}; got {value!r}")
