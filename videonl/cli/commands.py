"""The commands there are, and how each is written on the command line."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from videonl import __version__

TRAINER_COMMANDS = {
    "fit": "train a network",
    "validate": "accuracy of a checkpoint on the validation videos",
    "test": "accuracy with several views per video, a record of every view, a report",
    "predict": "score the test videos, or with --video FILE --checkpoint CKPT single videos",
}


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
        "benches",
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
        "export",
        "export",
        "write a network as ONNX or as a torch.export program, checked against eager",
        switches=("--trust_code",),
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
PREDICT_VIDEO = Command(
    "predict",
    "predict",
    "the best classes of single videos",
    switches=("--trust_code",),
    repeatable=("--video",),
    lists={"--video": ""},
)


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
