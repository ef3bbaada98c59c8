"""The parser of command lines."""

from typing import NoReturn

from jsonargparse import ArgumentParser

from videonl.terminal import printable


class Parser(ArgumentParser):
    """A parser whose complaints, which quote what files and names hold, are printed as text."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message and exits with code 2."""
        super().error(printable(message), ex)
