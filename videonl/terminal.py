"""The one way to a terminal: what names of files, classes and runs hold besides text never reaches it as it is.

A terminal obeys what it is sent: an escape sequence in a file's name could clear the screen, write other lines in place
of ours, or fill the clipboard.
"""

import logging
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# Control characters other than tab and newline, those of 8 bits too, and what turns the direction of writing around.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Text that a terminal or a UTF-8 file takes as text: control characters and bytes that are no UTF-8 are escaped.

    >>> print(printable("a\udcff\x1b[2J.mp4"))
    a\xff\x1b[2J.mp4
    """
    escaped = _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return escaped.encode(errors="surrogateescape").decode(errors="backslashreplace")


class Console(rich.console.Console):
    """Rich's console, which prints names as text whatever is in them. Everything that is printed goes through one."""

    def render_str(self, text: str, *arguments: Any, **options: Any) -> Text:
        """Escapes before the layout, so that columns stay aligned."""
        return super().render_str(printable(text), *arguments, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escapes what came as rich's own objects; control segments are rich's own."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


class _Record(logging.LogRecord):
    """A record whose message is text, whichever handler writes it, to a terminal or to a file."""

    def getMessage(self) -> str:  # noqa: N802  # logging's name
        return printable(super().getMessage())


class Pace:
    """Says when it is time for another line, where there is no terminal for a bar that moves.

    Args:
        seconds: From one line to the next; the first comes after as many.
    """

    def __init__(self, seconds: float = 30) -> None:
        self.seconds = seconds
        self._told = time.monotonic()

    def is_due(self) -> bool:
        """Whether so much time has passed since it last was."""
        now = time.monotonic()
        if now - self._told < self.seconds:
            return False
        self._told = now
        return True


def filter_messages(brief: bool = False) -> None:
    """Has logs, warnings and tracebacks of every package in this process print names as text.

    Args:
        brief: Print warnings without the line of code that they come from.
    """
    logging.setLogRecordFactory(_Record)
    warnings.formatwarning = _brief_warning if brief else _format_warning
    sys.excepthook = _print_traceback


_unfiltered = warnings.formatwarning


def _format_warning(*arguments: Any, **options: Any) -> str:
    return printable(_unfiltered(*arguments, **options))


def _brief_warning(message: Warning | str, *arguments: Any, **options: Any) -> str:
    return f"warning: {printable(str(message))}\n"


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace))))
