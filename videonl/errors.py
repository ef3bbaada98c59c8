"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """A mistake in the user's input.

    The message names the file or value at fault and says what to do. The command line prints it without a traceback and
    exits with code 2; Python callers may catch it as a ``ValueError``.
    """
