"""Numbers that mean nothing are refused by name, by every command, before anything is written."""

import contextlib
import os
import resource
import signal
import sys
import traceback
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import jsonargparse

from videonl.cli import commands, convert, summary
from videonl.cli.main import main
from videonl.cli.run import VideonlCLI
from videonl.models import ClipClassifier

MOST_BYTES = 6 * 2**30
HUGE = ("1000000000", "1" + 30 * "0")
VALUES = ("0", "-1", "nan", ".nan", ".inf", *HUGE, "word")


class Option(NamedTuple):
    """An option of a command that takes a number, and how many numbers it takes at once."""

    command: str
    flag: str
    size: int = 1

    def word(self, value: str) -> str:
        return f"{self.flag}={value}" if self.size == 1 else f"{self.flag}=[{', '.join([value] * self.size)}]"

    @property
    def name(self) -> str:
        return self.flag.rpartition(".")[2].lstrip("-")


def takes_numbers(kind: Any) -> int:
    """How many numbers a type annotation takes; 0 for those that take none."""
    parts = [part for part in typing.get_args(kind) if part is not Ellipsis]
    if typing.get_origin(kind) in (tuple, list):
        return len(parts) if any(map(takes_numbers, parts)) else 0
    if parts:
        return max(map(takes_numbers, parts), default=0)
    return int(kind in (int, float))


def numeric(command: str, parser: Any) -> Iterator[Option]:
    for action in parser._actions:
        size = takes_numbers(getattr(action, "_typehint", None) or action.type)
        if size and action.option_strings and type(action).__name__ not in ("ActionLink", "_ActionHelpClassPath"):
            yield Option(command, action.option_strings[0], size)


def plain_parsers() -> Iterator[tuple[str, Any]]:
    """The parsers of the commands that are functions."""
    named = {**commands.COMMANDS, "predict --video": commands.PREDICT_VIDEO}
    for name, command in named.items():
        components = getattr(import_module(f"videonl.cli.{command.module}"), command.function)
        if command.function == "BENCHES":
            for own, function in components.items():
                yield f"{name} {own}", jsonargparse.capture_parser(lambda f=function: jsonargparse.auto_cli(f, args=[]))
        elif name == "summary":
            yield name, summary._parser()
        elif name == "convert":
            yield name, jsonargparse.capture_parser(lambda: convert.parse([]))
        else:
            yield (
                name,
                jsonargparse.capture_parser(
                    lambda f=components, c=command: jsonargparse.auto_cli(f, args=[], as_positional=c.positional)
                ),
            )


def trainer_parsers() -> Iterator[tuple[str, Any]]:
    class ParsedError(Exception):
        pass

    class Captured(VideonlCLI):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            raise ParsedError(parser)

    try:
        Captured(["fit"])
    except ParsedError as captured:
        (found,) = (action for action in captured.args[0]._actions if hasattr(action, "_name_parser_map"))
    yield from found._name_parser_map.items()


def all_options() -> list[Option]:
    found = [option for command, parser in plain_parsers() for option in numeric(command, parser)]
    network = jsonargparse.ArgumentParser()
    network.add_class_arguments(ClipClassifier, "model.network.init_args", skip={"num_classes"})
    for command, parser in trainer_parsers():
        found += [*numeric(command, parser), *numeric(command, network)]
    return found


class Outcome(NamedTuple):
    code: int  # of the process; -9 where it took too long
    text: str  # all that it printed
    raised: str  # the traceback of what reached the top


def in_a_fork(words: list[str], folder: Path, limit_seconds: int = 90) -> Outcome:
    """Runs a command line in a process of its own, which has imported everything already, within some memory."""
    printed = folder / "printed"
    child = os.fork()
    if not child:
        os.setsid()
        signal.alarm(limit_seconds)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
        file = printed.open("w")
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        code = 99
        try:
            os.chdir(folder)
            code = main(words)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        except BaseException:
            (folder / "raised").write_text(traceback.format_exc())
        finally:
            file.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    raised = (folder / "raised").read_text() if (folder / "raised").exists() else ""
    return Outcome(os.waitstatus_to_exitcode(status), printed.read_text(), raised)
