"""``videonl demo``: the whole tool on an embedded data set, or on the user's own clips."""

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from videonl.cli.messages import is_verbose
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import classes_of
from videonl.errors import UserError
from videonl.evaluation import accuracies, read_record, stack
from videonl.files import write_text
from videonl.outputs import check_folder
from videonl.terminal import Console

NETWORKS = {"baseline": "without a block", "nonlocal": "with a non-local block"}
TURNS = ("train", "train", "val", "train", "test")  # which part each clip of a class goes to, over and over
TRAINED_CLIPS = 8000  # how many own clips each network sees in all: minutes on two cores
PROGRAM = Path(__file__).parents[1] / "__main__.py"
console = Console()


@dataclass(frozen=True)
class DemoData:
    """What the demo trains on: the root of the sources, options that describe it, and a test video to look at."""

    root: Path
    options: Sequence[str]
    video: Path


def demo(source: Path | None = None, out: Path = Path("runs/demo")) -> None:
    """Writes clips, trains a network with and without a non-local block, tests both and shows the attention.

    Args:
        source: Your own clips as CLASS/CLIP.mp4; without it, the synthetic data set is written and used.
        out: Folder for all outputs. Data of an earlier demo is reused; its runs are replaced.
    """
    start = time.monotonic()
    check_folder(out)
    data = _synthetic_clips(out / "data") if source is None else _own_clips(source, out / "splits")
    top1 = {name: _train_and_test(name, out / name, data) for name in NETWORKS}
    checkpoint = out / "nonlocal" / "checkpoints" / "best.ckpt"
    pictures = out / "attention"
    video = str(data.video)
    _videonl("attention", "--checkpoint", str(checkpoint), "--video", video, "--out", str(pictures), "--html")
    seconds = time.monotonic() - start
    write_text(out / "summary.json", json.dumps({"top1": top1, "seconds": round(seconds)}, indent=2) + "\n")
    places = {
        "attention, as pictures, films and a page to explore": pictures,
        "report of the test": out / "nonlocal" / "test.html",
        "checkpoint": checkpoint,
        "logs, also for W&B": out,
    }
    _summarize(top1, places, seconds)


def _synthetic_clips(root: Path) -> DemoData:
    _videonl("synth", str(root))
    return DemoData(root, [], sorted((root / "test").glob("*/*.mp4"))[0])


def _own_clips(source: Path, splits: Path) -> DemoData:
    """Splits class folders 3:1:1 into lists, and sets the length of the training by their number."""
    parts: dict[str, list[LabeledPath]] = {name: [] for name in dict.fromkeys(TURNS)}
    for label, videos in _by_class(read_source(str(source.resolve()))).items():
        if len(videos) < len(TURNS):
            raise UserError(
                f"class {label!r} in {source} has {len(videos)} clips; the demo needs at least {len(TURNS)}, to train, "
                "validate and test on different ones"
            )
        for position, video in enumerate(videos):
            parts[TURNS[position % len(TURNS)]].append(video)
    for name, part in parts.items():
        text = io.StringIO(newline="")
        csv.writer(text).writerows([["path", "label"], *((video.path, video.label) for video in part)])
        write_text(splits / f"{name}.csv", text.getvalue())
    num_epochs = max(TRAINED_CLIPS // len(parts["train"]), 1)
    sources = [word for name in parts for word in (f"--data.{name}", f"{name}.csv")]
    options = ["--config", "experiment/demo/own_clips.yaml", *sources, "--trainer.max_epochs", str(num_epochs)]
    return DemoData(splits, options, Path(str(parts["test"][0].path)))


def _by_class(videos: Sequence[LabeledPath]) -> dict[str, list[LabeledPath]]:
    return {label: [video for video in videos if video.label == label] for label in classes_of(videos)}


def _train_and_test(name: str, run: Path, data: DemoData) -> float:
    experiment = ["--config", f"experiment/demo/{name}.yaml", *data.options]
    common = [*experiment, "--data.root", str(data.root), "--run.dir", str(run)]
    _videonl("fit", *common, "--run.overwrite", "true")
    _videonl("test", *common)
    return accuracies(*stack(read_record(run / "test.parquet").scores))["top1"]


def _videonl(*arguments: str) -> None:
    """Prints a command and runs it as a user would."""
    console.rule(style="dim")
    console.print(f"videonl {' '.join(arguments)}", style="bold", soft_wrap=True, markup=False, highlight=False)
    asked = ["--verbose"] * is_verbose()
    # Not by -m, for which Python would look for modules in the working folder first.
    with subprocess.Popen([sys.executable, str(PROGRAM), *arguments, *asked]) as command:
        try:
            code = command.wait()
        except BaseException:
            command.terminate()  # it tidies up, which a kill would not let it
            raise
    if code:
        raise UserError(f"videonl {arguments[0]} failed with exit code {code}; see its message above")


def _summarize(top1: dict[str, float], places: dict[str, Path], seconds: float) -> None:
    console.rule("summary")
    table = Table("network", "top-1 on the test videos")
    for name, accuracy in top1.items():
        table.add_row(NETWORKS[name], f"{100 * accuracy:.1f} %")
    console.print(table)
    for what, place in places.items():
        console.print(f"{what}: {place}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"{seconds / 60:.1f} minutes")
