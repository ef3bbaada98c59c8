"""Numbers that mean nothing are refused by name, by every command, before anything is written."""

import dataclasses
import itertools
import json
import random
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import jsonargparse
import pytest
import yaml

from videonl.cli import commands, convert, predict, summary
from videonl.cli.main import main
from videonl.cli.renamed import RENAMED
from videonl.cli.run import VideonlCLI
from videonl.cli.run_folder import Run
from videonl.data.augmentation import Augmentation, Color, RandAugment
from videonl.data.loader import Loading
from videonl.data.mixing import Mixing
from videonl.data.multigrid import Multigrid
from videonl.data.preparing.encoding import Encoding
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.data.transforms import ClipFormat, Views
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.conversion import Stated
from videonl.training import Optimization

HUGE, BEYOND = "1000000000", "1" + 30 * "0"  # the one fits 64 bits
VALUES = ("0", "-1", "nan", ".nan", ".inf", HUGE, BEYOND, "word")
ONE_VIDEO = "predict --video"
# Not asked here: what serves until it is stopped, and what takes its words itself; their own tests refuse mistakes.
UNSWEPT = ("app", "features", "share", "stream", "timeline")
LIMIT_SECONDS = 240
# What means something, by value: the names of options. Everything else is refused.
MEANT = {
    "0": """seed seed_everything fast_dev_run min_epochs min_steps limit_train_batches limit_val_batches
        limit_test_batches limit_predict_batches overfit_batches num_sanity_val_steps log_every_n_steps
        gradient_clip_val reload_dataloaders_every_n_epochs warmup_fraction milestone_fractions step_factor weight_decay
        momentum label_smoothing mean flip_probability brightness contrast saturation hue num_ops magnitude
        erasing_probability mixup_alpha cutmix_alpha num_workers time_limit_seconds time_limit max_failed_share
        upload_limit_mb diagnosed_clips save_every_steps films_every_epochs dropout num_mistakes num_videos num_sampled
        memory_reads num_train num_val num_test cache_gb effective_beta crf pool_padding export.tolerance rate_power
        focal_gamma logit_adjustment""",
    "-1": "max_epochs max_steps num_sanity_val_steps",
    ".inf": "upload_limit_mb",
    HUGE: """overfit_batches val_check_interval
        seed seed_everything fast_dev_run max_epochs min_epochs max_steps min_steps limit_train_batches
        limit_val_batches limit_test_batches limit_predict_batches check_val_every_n_epoch num_sanity_val_steps
        log_every_n_steps accumulate_grad_batches gradient_clip_val reload_dataloaders_every_n_epochs upload_limit_mb
        save_every_steps films_every_epochs shard_mb num_mistakes top num_sampled num_queries num_videos
        diagnose.num_clips num_windows window_stride_frames""",
    BEYOND: """overfit_batches
        max_epochs min_epochs max_steps min_steps upload_limit_mb shard_mb num_mistakes top num_sampled
        num_queries num_videos diagnose.num_clips num_windows window_stride_frames""",
}
NOT_MEANT = """index num_workers 0, prepare num_workers 0, index time_limit 0, prepare time_limit 0,
    fit limit_train_batches 0, test limit_test_batches 0,
    validate limit_val_batches 0, predict limit_predict_batches 0, fit overfit_batches 1,
    fit val_check_interval 1"""
SETTINGS = (
    *(ClipFormat, Views, Augmentation, Color, RandAugment, Mixing, Multigrid, Loading, Optimization),
    *(Encoding, Run, Stated),
)


class Option(NamedTuple):
    """An option of a command that takes a number, and how many numbers it takes at once."""

    command: str
    flag: str
    size: int = 1

    def word(self, value: str) -> str:
        return f"{self.flag}={value}" if self.size == 1 else f"{self.flag}=[{', '.join([value] * self.size)}]"

    @property
    def name(self) -> str:
        return self.flag.rpartition(".")[2].lstrip("-").replace("-", "_")


def takes_numbers(kind: Any) -> int:
    """How many numbers a type annotation takes; 0 for those that take none."""
    parts = [part for part in typing.get_args(kind) if part is not Ellipsis]
    if typing.get_origin(kind) in (tuple, list):
        return max(2, len(parts)) if any(map(takes_numbers, parts)) else 0
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
    named = {**commands.COMMANDS, ONE_VIDEO: commands.PREDICT_VIDEO}
    for name in UNSWEPT:
        del named[name]
    for name, command in named.items():
        if name == ONE_VIDEO:  # whose parser takes the words that are sources apart
            yield name, jsonargparse.capture_parser(lambda: jsonargparse.auto_cli(predict.predict, args=[]))
            continue
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

    for name in commands.TRAINER_COMMANDS:  # each builds the options of its own alone
        try:
            Captured([name])
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
    code: int  # of the process; that of SIGALRM, -14, where it took too long
    text: str  # all that it printed
    raised: str  # the traceback of what reached the top


@pytest.fixture(scope="module")
def in_a_fork() -> Iterator[Callable[[list[str], Path], Outcome]]:
    """``in_a_fork(words, folder)`` runs a command line in a process that has imported everything already."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("forking.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout

        def run(words: list[str], folder: Path) -> Outcome:
            print(json.dumps([words, str(folder), LIMIT_SECONDS]), file=server.stdin, flush=True)
            code = int(server.stdout.readline())
            raised = folder / "raised"
            return Outcome(code, (folder / "printed").read_text(), raised.read_text() if raised.exists() else "")

        yield run
        server.stdin.close()


def is_meant(command: str, name: str, value: str) -> bool:
    elsewhere = [" ".join(words.split()) for words in NOT_MEANT.split(",")]  # the same name means something there
    meant = MEANT.get(value, "").split()
    return bool({name, f"{command}.{name}"} & {*meant}) and f"{command} {name} {value[0]}" not in elsewhere


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def lines(
    trained: Path, small_config: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """For each command a line that works, and ends soon."""
    folder = tmp_path_factory.mktemp("values")
    index, checkpoint = folder / "index.parquet", trained / "checkpoints" / "best.ckpt"
    assert main(["index", str(clips / "val"), "-o", str(index)]) == 0
    record = folder / "out" / "evaluation.parquet"
    write_synthetic(folder / "long", SyntheticSettings(num_train=1, num_val=1, num_test=1, size_px=38, num_frames=61))
    few = ["--source", clips / "val", "--num_clips=1", "--num_crops=1", "--num_workers=0"]
    words = ["evaluate", "--checkpoint", checkpoint, *few]
    assert main([*map(str, words), "--out", str(record.parent)]) == 0
    run = ["--config", small_config, "--run.dir=run", "--ckpt_path"]
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump({"base": str(small_config), "variants": {"none": {}}, "seeds": [0]}))
    one = ["--checkpoint", checkpoint, "--video", min(clips.glob("test/*/*.mp4"))]
    found: dict[str, list[Any]] = {
        "bench blocks": ["bench", "blocks", "--positions=16", "--channels=8", "--blocks=snl", "--seconds=0.1"],
        "bench data": ["bench", "data", next((folder / "long" / "val").iterdir()), "--num_clips=1"],
        "bench windows": [
            *("bench", "windows", next((folder / "long" / "val").rglob("*.mp4")), "--width=2", "--num_frames=4"),
            *("--stride_frames=1", "--short_side_px=37", "--crop_px=31", "--num_windows=2", "--rounds=1"),
        ],
        "bench model": [
            "bench",
            "model",
            "--width=4",
            "--num_frames=4",
            "--size_px=32",
            "--batch_size=1",
            "--seconds=0.1",
        ],
        "convert": ["convert", checkpoint, "--from=videonl", "--clip=5x1", "--out=weights.pth"],
        "compare": ["compare", record, record],
        "report": ["report", record, "--out=report.html"],
        "diagnose": ["diagnose", *words[1:5], "--num_workers=0", "--num_queries=3", "--num_clips=2"],
        "doctor": ["doctor", index],
        "evaluate": words,
        "export": ["export", "--checkpoint", checkpoint, "--format=torch-export", "--out=network.pt2"],
        "index": ["index", clips / "val"],
        "prepare": ["prepare", index, "prepared", "--shards"],
        "study": ["study", study, "--out=study"],
        "summary": ["summary", "--config", small_config],
        "synth": ["synth", "made", "--num_train=2", "--num_val=1", "--num_test=1", "--size_px=32", "--num_frames=4"],
        ONE_VIDEO: ["predict", *one, "--num_clips=1", "--num_crops=1"],
        "fit": ["fit", *run[:-1], "--trainer.max_steps=2"],
        **{name: [name, *run, checkpoint] for name in ("validate", "test", "predict")},
    }
    return {name: [str(word) for word in line] for name, line in found.items()}


@pytest.mark.parametrize("kind", [*SETTINGS, SyntheticSettings], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("value", ["0", "-1", ".nan", ".inf", "-.inf", HUGE, BEYOND])
def test_settings_refuse_numbers_that_mean_nothing(kind: Any, value: str) -> None:
    hints = typing.get_type_hints(kind)
    for name, size in ((field.name, takes_numbers(hints[field.name])) for field in dataclasses.fields(kind)):
        number = yaml.safe_load(value)
        if not size or is_meant("", name, value):
            continue
        with pytest.raises(UserError) as refusal:
            kind(**{name: number if size == 1 else (number,) * size})
        assert name in str(refusal.value)


def test_options_are_refused_by_name_before_anything_is_written(
    videonl: Callable[..., Any], lines: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {option.command for option in all_options()} == lines.keys()
    options = [option for option in all_options() if not option.command.startswith(("validate", "test", "bench"))]
    pairs = [pair for pair in itertools.product(options, VALUES) if not is_meant(*pair[0][:1], pair[0].name, pair[1])]
    for option, value in random.Random(3).sample(pairs, 25):
        refused = videonl(*lines[option.command], option.word(value))
        assert (refused.code, option.name in refused.text.replace("-", "_")) == (2, True), (option, value)
        assert "Traceback" not in refused.text
        assert files_of(tmp_path) == {}, (option, value)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("command", [*dict.fromkeys(option.command for option in all_options())])
def test_every_number_of_every_option(
    command: str, lines: dict[str, list[str]], in_a_fork: Callable[[list[str], Path], Outcome], tmp_path: Path
) -> None:
    """Refused by name with nothing written, or it means something; never a traceback, never a changed input."""
    inputs = {path: path.read_bytes() for word in lines[command] if (path := Path(word)).is_file()}
    wrong = []
    as_it_is = in_a_fork(lines[command], tmp_path)
    assert (as_it_is.code, as_it_is.raised) == (0, ""), as_it_is.text
    options = [option for option in all_options() if option.command == command]
    for number, (option, value) in enumerate(itertools.product(options, VALUES)):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = in_a_fork([*lines[command], option.word(value)], folder)
        printed = [str(folder / name) for name in ("printed", "raised")]
        written = [path for path in files_of(folder) if path not in printed]
        is_named = option.name in done.text.replace("-", "_")
        meant = is_meant(command, option.name, value)
        if done.raised or "Traceback" in done.text or done.code not in (0, 2):
            wrong.append((option, value, done.code, done.raised[-300:] or done.text[-300:]))
        elif not meant and not (done.code == 2 and is_named and not written):
            wrong.append((option, value, done.code, written, done.text[-300:]))
    assert not wrong, "\n".join(map(repr, wrong))
    assert {path: path.read_bytes() for path in inputs} == inputs


def test_every_new_name_is_an_option_and_no_old_one_is() -> None:
    flags: dict[str, set[str]] = {}
    for command, parser in plain_parsers():
        known = {action.dest for action in parser._actions}
        flags.setdefault(command.split()[0], set()).update(known)
    for command, names in RENAMED.items():
        assert set(names.values()) <= flags[command], command
        assert not set(names) - {"index"} & flags[command], command
