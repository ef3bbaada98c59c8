"""Entry point of the ``videonl`` command: finds the subcommand, and turns a user's mistakes into plain messages."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import takewhile
from types import MappingProxyType
from typing import Any, NamedTuple

from videonl import __version__
from videonl.errors import UserError

TRAINER_COMMANDS = {
    "fit": "train a network",
    "validate": "accuracy of a checkpoint on the validation videos",
    "test": "accuracy with several views per video, a record of every view, a report",
    "predict": "score the test videos, or with --video FILE --checkpoint CKPT one video",
}

# Warnings of Lightning's that are of no use here, as regular expressions.
NOISE = (
    ".*LeafSpec.*is deprecated",  # it was written for an older torch
    "Checkpoint directory .* exists and is not empty",  # so it is when a run is resumed, and nothing is overwritten
    "The dirpath has changed from",  # a checkpoint may be evaluated in another folder
    "Grad strides do not match bucket view strides",  # of 1x1x1 kernels, whose memory formats are one and the same
    "Precision .* is not supported by the model summary",  # the size it prints is that of the float32 weights
    "Total length of `list` across ranks is zero",  # there are no validation videos
    "predict returned None",  # the scores are collected beside Lightning's predictions
    "Found .* module\\(s\\) in eval mode at the start of training",  # norms that are frozen or affine
    "You're using the WeightAveraging callback with a model that overrides",  # ours shards nothing there
    "You're using the WeightAveraging callback, but loading a checkpoint outside",  # to test averaged weights
    "You are using a custom batch sampler `EvaluationBatchSampler`",  # it returns every video once; the tests count
)


class Command(NamedTuple):
    """A command that is one function, or several under their own names.

    Attributes:
        module: Where in ``videonl.cli``.
        function: The function's name there, or that of a dictionary of functions.
        text: What it does, for the overview.
        positional: Whether its required arguments are positional.
        switches: Options that may be given without a value, which then is true.
        parses: Whether the function takes the words as they are, for flags that no parameter can be named after.
        short: Short names of options.
        repeatable: Options of a list that may be given several times, one value each.
        lists: Those of them that take any number of words at once, and what they mean without any.
    """

    module: str
    function: str
    text: str
    positional: bool = False
    switches: tuple[str, ...] = ()
    parses: bool = False
    short: Mapping[str, str] = MappingProxyType({})
    repeatable: tuple[str, ...] = ()
    lists: Mapping[str, str] = MappingProxyType({})


COMMANDS = {
    "attention": Command(
        "attention",
        "attention",
        "show what the inserted blocks attend to in a video, and what speaks for a class",
        switches=("--html", "--trust_code"),
        repeatable=("--query", "--evidence"),
        lists={"--evidence": "auto"},
    ),
    "bench": Command(
        "bench",
        "BENCHES",
        "time blocks, a whole model, or the loading of videos, against others",
        positional=True,
        switches=("--json",),
    ),
    "convert": Command("convert", "parse", "turn another project's checkpoint into weights to start from", parses=True),
    "compare": Command("compare", "compare", "what one evaluation has right that another has wrong", positional=True),
    "demo": Command("demo", "demo", "the whole tool in ten minutes: data, training, accuracies, attention"),
    "diagnose": Command(
        "diagnose",
        "diagnose",
        "measure over many clips what each block does: where it looks, and what accuracy loses without it",
        switches=("--json", "--trust_code"),
    ),
    "doctor": Command(
        "doctor",
        "doctor",
        "report on an index: classes, broken files, leakage, time to decode",
        positional=True,
        switches=("--json",),
        short={"-o": "--output"},
    ),
    "evaluate": Command(
        "evaluate",
        "evaluate",
        "accuracy of a checkpoint on any videos, without a configuration; resumes where it was interrupted",
        switches=("--fully_convolutional", "--trust_code"),
    ),
    "export": Command(
        "export", "export", "write a network as ONNX or as a torch.export program, checked against eager"
    ),
    "index": Command(
        "index",
        "index",
        "examine every video of a data set and write what it is",
        positional=True,
        switches=("--strict",),
        short={"-o": "--output"},
    ),
    "models": Command("models", "models", "list the backbones and blocks there are", switches=("--json",)),
    "prepare": Command(
        "prepare",
        "prepare",
        "re-encode the videos of an index for fast training",
        positional=True,
        switches=("--shards",),
    ),
    "report": Command("report", "report", "the report of an evaluation again, from its record", positional=True),
    "summary": Command(
        "summary", "summary", "sizes, cost and memory of a configuration's network, before training", parses=True
    ),
    "synth": Command(
        "synth", "synth", "write the synthetic data set, real H.264 files with known truth", positional=True
    ),
}
BENCH_MODEL = Command(
    "bench_model", "bench_model", "time a whole network against plain pytorchvideo", switches=("--json",)
)
PREDICT_VIDEO = Command("predict", "predict", "the best classes of one video", switches=("--trust_code",))


def usage() -> str:
    """The overview that ``videonl --help`` prints."""
    texts = TRAINER_COMMANDS | {name: command.text for name, command in COMMANDS.items()}
    lines = [f"  {name:<10} {text}" for name, text in texts.items()]
    return "\n".join(
        [
            f"videonl {__version__}: spacetime attention in 3D CNNs for action recognition",
            "",
            "usage: videonl COMMAND [--config FILE ...] [options]",
            "",
            *lines,
            "",
            "videonl COMMAND --help lists a command's options.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: The words after ``videonl``; those of the process when not given.

    Returns:
        The exit code: 0 when all went well, 2 for a mistake of the user, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"videonl {__version__}")
        return 0
    try:
        _dispatch(words[0], words[1:])
    except UserError as error:
        # From a worker process it arrives with that process's traceback before it.
        message = str(error).rpartition(f"{UserError.__name__}: ")[2]
        print(f"videonl: error: {message.strip()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("videonl: interrupted", file=sys.stderr)
        return 130
    return 0


def _dispatch(command: str, arguments: list[str]) -> None:
    _set_up_messages()
    if command == "predict" and any(word.split("=")[0] == "--video" for word in arguments):
        _run(command, PREDICT_VIDEO, arguments)
    elif command == "bench" and arguments[:1] == ["model"]:
        _run("bench model", BENCH_MODEL, arguments[1:])
    elif command in TRAINER_COMMANDS:
        # Imported late: these take seconds, and `videonl --help` should not.
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        from videonl.cli.configuration import expand
        from videonl.cli.run import VideonlCLI

        try:
            VideonlCLI([command, *expand(arguments)])
        except MisconfigurationException as error:  # Lightning's own word for a mistake of the user's
            raise UserError(str(error)) from error
    elif command in COMMANDS:
        _run(command, COMMANDS[command], arguments)
    else:
        raise UserError(f"unknown command {command!r}; the commands are: {', '.join([*TRAINER_COMMANDS, *COMMANDS])}")


def _run(name: str, command: Command, arguments: list[str]) -> None:
    components: Any = getattr(import_module(f"videonl.cli.{command.module}"), command.function)
    if command.parses:
        components(arguments)
        return
    from jsonargparse import auto_cli

    words = _one_by_one([command.short.get(word, word) for word in arguments], command.lists)
    arguments = [_as_parsed(word, command) for word in words]
    auto_cli(components, args=arguments, as_positional=command.positional, prog=f"videonl {name}")


def _one_by_one(words: Sequence[str], lists: Mapping[str, str]) -> list[str]:
    """Options of several words as one option for each word, quoted so that it stays the word that it is.

    >>> _one_by_one(["--evidence", "hug", "[x]", "--html", "--evidence"], {"--evidence": "auto"})
    ['--evidence=["hug"]', '--evidence=["[x]"]', '--html', '--evidence=["auto"]']
    """
    expanded: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word not in lists:
            expanded.append(word)
            continue
        values = list(takewhile(lambda value: not value.startswith("--"), rest))
        del rest[: len(values)]
        expanded += [f"{word}={json.dumps([value])}" for value in values or [lists[word]]]
    return expanded


def _as_parsed(word: str, command: Command) -> str:
    """A word as jsonargparse wants it: names with underscores, switches with a value, ``--list+`` for what appends."""
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return word
    name = f"--{name[2:].replace('-', '_')}"
    if not equals and name in command.switches:
        return f"{name}=true"
    return f"{name}+{equals}{value}" if name in command.repeatable else f"{name}{equals}{value}"


def _set_up_messages() -> None:
    """Lets the package's own log through, and keeps back what a user can do nothing about."""
    from rich.console import Console
    from rich.logging import RichHandler

    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    logger = logging.getLogger("videonl")
    if not logger.handlers:
        logger.addHandler(RichHandler(console=Console(stderr=True), show_path=False))
    logger.setLevel(logging.INFO)


def entry_point() -> None:
    """The console script."""
    sys.exit(main())
