"""Entry point of the ``videonl`` command: finds the subcommand, and turns a user's mistakes into plain messages."""

import os
import select
import sys
from collections.abc import Sequence
from json import dumps
from typing import TextIO

from videonl import __version__
from videonl.cli.commands import COMMANDS, PREDICT_VIDEO, TRAINER_COMMANDS, usage
from videonl.cli.ending import INTERRUPTED, TERMINATED, TerminatedError, raising_sigterm
from videonl.cli.messages import print_error, set_up_lightning, set_up_messages, split_verbose
from videonl.cli.parsed_command import run_command
from videonl.cli.renamed import rename_words
from videonl.cli.short_help import EVERYTHING, short_help
from videonl.cli.written import written_help
from videonl.errors import UserError
from videonl.runtime.safe_path import start_safely
from videonl.runtime.waiting import wait_briefly_if_busy


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: The words after ``videonl``; those of the process when not given.

    Returns:
        The exit code: 0 when all went well, 1 when an evaluation could not read some of its videos, 2 for a mistake of
        the user, 130 when interrupted, 143 when terminated.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"videonl {__version__}")
        return 0
    try:
        with raising_sigterm():
            _dispatch(words[0], *split_verbose(words[1:]))
    except UserError as error:
        # From a worker process it arrives with that process's traceback before it.
        message = str(error).rpartition(f"{UserError.__name__}: ")[2]
        print_error(message.strip())
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        print_error(_cause(error))
        return 2
    except KeyboardInterrupt:
        print("videonl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except TerminatedError:
        print("videonl: terminated", file=sys.stderr)
        return TERMINATED
    return 0


def _cause(error: OSError) -> str:
    """What could not be read or written."""
    try:
        print(flush=True)  # what failed may have been printing
    except OSError as failed:
        _drop_output()
        return f"standard output cannot be written ({failed.strerror}); redirect it to another place"
    return str(error)


def _dispatch(command: str, arguments: list[str], verbose: bool) -> None:
    set_up_messages(verbose)
    start_safely()
    arguments = rename_words(command, arguments)
    if command == "predict" and {"--video", "--checkpoint"} & {word.split("=")[0] for word in arguments}:
        run_command(command, PREDICT_VIDEO, arguments)
    elif command in TRAINER_COMMANDS and {"-h", "--help"} & {*arguments}:
        print(short_help(command))
    elif text := written_help(command, arguments):
        print(text, end="")
    elif command in TRAINER_COMMANDS:
        _run_trainer(command, arguments)
    elif command in COMMANDS:
        run_command(command, COMMANDS[command], arguments)
    else:
        raise UserError(f"unknown command {command!r}; the commands are: {', '.join([*TRAINER_COMMANDS, *COMMANDS])}")


def _run_trainer(command: str, arguments: list[str]) -> None:
    # Imported late: these take seconds, and `videonl --help` should not.
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from videonl.cli.configuration import run_folder
    from videonl.cli.foreign_code import expand_trusted, split_trust
    from videonl.cli.run import VideonlCLI

    set_up_lightning()
    words, trusted = split_trust(arguments)
    try:
        if EVERYTHING & {*arguments}:
            VideonlCLI([command, "--help"])
        # What is trained is one's own; what is evaluated may be somebody else's.
        expanded = expand_trusted(words, trusted or command == "fit")
        # Before all that the user gives, so that any of it wins.
        follows = [f"--config=run: {{dir: {dumps(folder)}}}"] if (folder := run_folder(words)) else []
        VideonlCLI([command, *follows, *expanded])
    except MisconfigurationException as error:  # Lightning's own word for a mistake of the user's
        raise UserError(str(error)) from error


def entry_point() -> None:
    """The console script."""
    _open_standard_streams()
    wait_briefly_if_busy()  # before PyTorch is loaded, which reads it then
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        if _has_reader(sys.stdout):
            raise
        _drop_output()  # whoever read it has had enough, such as `head`
        code = 1
    except OSError as error:
        print(f"videonl: error: {_cause(error)}", file=sys.stderr)
        code = 2
    sys.exit(code)


def _open_standard_streams() -> None:
    """Refuses a closed stdout; where stdin or stderr is closed, the next file opened is not to take its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    if sys.stdout is None:
        print("videonl: error: standard output is closed; redirect it to a file, or to /dev/null", file=sys.stderr)
        sys.exit(2)


def _drop_output() -> None:
    """Lets the interpreter's own last flush find no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has_reader(pipe: TextIO) -> bool:
    waiting = select.poll()
    waiting.register(pipe, 0)  # for errors alone
    return not waiting.poll(0)
