"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """A mistake in the user's input.

    The message names the file or value at fault and says what to do. The command line prints it without a traceback and
    exits with ``exit_code``; Python callers may catch it as a ``ValueError``.
    """

    exit_code = 2


class IncompleteError(UserError):
    """The work is done and written, but not for all of its input."""

    exit_code = 1
