"""The commands, by task, and how each is written on the command line."""

from typing import NamedTuple

from videonl import __version__

TRAINER_COMMANDS = {
    "fit": "train a network",
    "validate": "accuracy of a checkpoint on the validation videos",
    "test": "accuracy with several views per video, a record of every view, a report",
    "predict": "the best classes of videos: files, folders, lists; or, with --config, of a run's test videos",
}


class Command(NamedTuple):
    """A command that is one function, or several under their own names.

    Attributes:
        module: Where in ``videonl.cli``.
        function: The function's name there, or that of a dictionary of functions.
        text: What it does, for the overview.
        positional: Whether its required arguments are positional.
        parses: Whether the function takes the words as they are, for flags that no parameter can be named after.
    """

    module: str
    function: str
    text: str
    positional: bool = False
    parses: bool = False


COMMANDS = {
    "app": Command("app", "app", "a page to try a network in a browser, with Gradio"),
    "attention": Command(
        "attention", "attention", "show what the inserted blocks attend to in a video, and the evidence for a class"
    ),
    "bench": Command(
        "benches",
        "BENCHES",
        "time blocks, a whole model, video loading, or windows of a long video against peers",
        positional=True,
    ),
    "convert": Command("convert", "parse", "turn another project's checkpoint into weights to start from", parses=True),
    "compare": Command("compare", "compare", "compare two evaluations video by video", positional=True),
    "demo": Command("demo", "demo", "the whole tool in ten minutes: data, training, accuracies, attention"),
    "diagnose": Command(
        "diagnose",
        "diagnose",
        "measure over many clips where each block attends, and what accuracy loses without it",
    ),
    "doctor": Command(
        "doctor", "doctor", "report on an index: classes, broken files, leakage, time to decode", positional=True
    ),
    "evaluate": Command(
        "evaluate",
        "evaluate",
        "accuracy of a checkpoint on any videos, without a configuration; resumes after an interruption",
    ),
    "export": Command(
        "export", "export", "write a network as ONNX or as a torch.export program, checked against eager"
    ),
    "features": Command("features", "parse", "features of the windows of videos, one file each", parses=True),
    "index": Command("index", "index", "examine every video of a data set and write an index", positional=True),
    "models": Command("models", "models", "list the backbones and blocks"),
    "prepare": Command("prepare", "prepare", "re-encode the videos of an index for fast training", positional=True),
    "report": Command("report", "report", "rebuild the report of an evaluation from its record", positional=True),
    "share": Command(
        "share",
        "parse",
        "write a network to give away, in the layout of the Hugging Face Hub, and push it",
        parses=True,
    ),
    "split": Command(
        "split",
        "parse",
        "divide videos into training, validation and test; groups such as persons stay whole",
        parses=True,
    ),
    "stream": Command(
        "stream", "parse", "the best classes of a camera, an address, a pipe or a file, as it comes", parses=True
    ),
    "study": Command("study", "study", "train variants x seeds, and compare them in one report", positional=True),
    "summary": Command(
        "summary", "summary", "sizes, cost and memory of a configuration's network, before training", parses=True
    ),
    "synth": Command(
        "synth", "synth", "write the synthetic data set, real H.264 files with known ground truth", positional=True
    ),
    "timeline": Command(
        "timeline", "parse", "what happens when in a long video: a page, segments, subtitles, a film", parses=True
    ),
}
PREDICT_VIDEO = Command("predict", "parse", "the top classes of videos", parses=True)
TASKS = {
    "data": ("split", "index", "doctor", "prepare", "synth"),
    "train": ("summary", "fit", "study", "demo"),
    "evaluate": ("validate", "test", "evaluate", "report", "compare"),
    "use": ("predict", "timeline", "features", "stream", "app", "export", "share"),
    "look": ("attention", "diagnose"),
    "weights": ("models", "convert"),
    "measure": ("bench",),
}


def usage() -> str:
    """The overview that ``videonl --help`` prints."""
    texts = TRAINER_COMMANDS | {name: command.text for name, command in COMMANDS.items()}
    tasks = [[f"{task}:", *(f"  {name:<10} {texts[name]}" for name in names), ""] for task, names in TASKS.items()]
    return "\n".join(
        [
            f"videonl {__version__}: spacetime attention in 3D CNNs for action recognition",
            "",
            "usage: videonl COMMAND [--config FILE ...] [options]",
            "",
            *(line for lines in tasks for line in lines),
            "videonl COMMAND --help lists a command's options; --num-clips and --num_clips are the same.",
            "Every command takes --verbose, which also prints the messages of the libraries.",
        ]
    )
