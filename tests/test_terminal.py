"""Names reach a terminal as text: no control character of theirs is printed, in any way that things are printed."""

import logging
import subprocess
import sys
from io import StringIO

import pytest
from rich.live import Live
from rich.logging import RichHandler
from rich.panel import Panel
from rich.progress import track
from rich.table import Table
from rich.text import Text

from videonl.terminal import Console, printable

# Without bell, backspace and carriage return, which rich itself takes out of its texts.
EVIL = "run\x1b[2J\x1b]52;c;aGk=\x9b31m\x7fwalk\u202eknuj"
ESCAPED = r"run\x1b[2J\x1b]52;c;aGk=\x9b31m\x7fwalk\u202eknuj"


def test_text_stays_as_it_is() -> None:
    text = "Saut à l'élastique\t跑步\n🤸 e\u0301"
    assert printable(text) == text
    assert printable(f"{EVIL}\r\x08\x07") == rf"{ESCAPED}\r\x08\x07"


@pytest.mark.parametrize("terminal", [False, True])
def test_everything_that_is_printed_is_text(terminal: bool) -> None:
    table = Table(EVIL, title=Text(EVIL))
    table.add_row(EVIL, Text(EVIL, style="red"))
    out = StringIO()
    console = Console(
        file=out, width=400, force_terminal=terminal, color_system="standard" if terminal else None, highlight=False
    )
    console.print(EVIL, Panel(EVIL, title=EVIL), table, Text(EVIL), markup=False)
    console.print(f"[bold]{EVIL}".replace("[2J", "").replace("[31m", ""))
    console.rule(EVIL.replace("[", "("))
    console.log(EVIL, markup=False)
    with console.status(EVIL.replace("[", "(")), Live(Text(EVIL), console=Console(file=StringIO())):
        pass
    assert list(track([1], EVIL.replace("[", "("), console=console)) == [1]
    printed = out.getvalue()
    assert printed.count(ESCAPED) >= 7, printed
    assert not {"\x07", "\x9b", "\x08", "\x7f", "\u202e"} & set(printed)
    assert "\x1b[2J" not in printed and "\x1b]52" not in printed
    assert ("\x1b[1m" in printed) == terminal  # rich's own still come through


def test_columns_stay_aligned() -> None:
    table = Table("class", "n")
    for name in (EVIL, "jump"):
        table.add_row(name, "7")
    out = StringIO()
    Console(file=out, width=400).print(table)
    assert len({len(line) for line in out.getvalue().splitlines()}) == 1


PROGRAM = """
import logging, sys, warnings
from videonl.cli.messages import print_error, set_up_messages

evil = sys.argv[1]
set_up_messages()
logging.getLogger("videonl").info("%s", evil)
logging.getLogger("lightning.pytorch").warning("saved at %s", evil)
logging.basicConfig(filename=sys.argv[2], force=True)
logging.getLogger("other").warning(evil)
warnings.warn(evil)
print_error(evil)
raise RuntimeError(evil)
"""


def test_logs_warnings_errors_and_tracebacks_are_text(tmp_path) -> None:
    command = [sys.executable, "-c", PROGRAM, f"{EVIL}\x07", str(tmp_path / "log.txt")]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=120)
    told = ended.stderr.decode() + (tmp_path / "log.txt").read_text()
    assert told.count(rf"{ESCAPED}\x07") >= 6, told
    assert not set("\x1b\x07\x9b\x08\x7f\u202e") & set(told)


def test_a_handler_gets_records_as_text() -> None:
    out = StringIO()
    handler = RichHandler(console=Console(file=out, width=400))
    handler.emit(logging.LogRecord("a", logging.INFO, "b.py", 7, "%s", (EVIL,), None))
    assert ESCAPED in out.getvalue()
