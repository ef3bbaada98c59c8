"""The one exception that means: the user can mend this; and the check that most often raises it."""

import math

MOST_WORKERS = 1024
MOST_ROUNDS = 10**4  # of a benchmark
MOST_SECONDS = 10**6  # of a time limit: 11 days
MOST_PIXELS = 16384  # of a side
MOST_FRAMES = 10**4  # of a clip
MOST_WIDTH = 2**13  # of a network


class UserError(ValueError):
    """A mistake in the user's input.

    The message names the file or value at fault and says what to do. The command line prints it without a traceback and
    exits with ``exit_code``; Python callers may catch it as a ``ValueError``.
    """

    exit_code = 2


class IncompleteError(UserError):
    """The work is done and written, but not for all of its input."""

    exit_code = 1


def require_within(least: float, most: float = math.inf, **values: float | None) -> None:
    """Refuses numbers outside of a range, by their names; None, for what is not given, passes.

    >>> require_within(1, 4, num_clips=3, num_crops=None)

    Args:
        least: The smallest number allowed.
        most: The largest number allowed.
        values: Numbers by name. NaN lies in no range.

    Raises:
        UserError: Naming the number, the limit that it breaks, and its value.
    """
    for name, value in values.items():
        if value is not None and not isinstance(value, int | float):
            raise UserError(f"{name} must be a number, got {value!r}")
        if value is None or least <= value <= most:
            continue
        limit = f"at most {most:,}" if value > most else f"at least {least:,}"
        raise UserError(f"{name} must be {limit}, got {value}")
