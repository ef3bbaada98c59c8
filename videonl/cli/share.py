"""``videonl share RUN --out FOLDER``: a network to give away, with its card and its figures."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from videonl import __version__
from videonl.cli.model_card import Card, figures_of, model_card, without_folders
from videonl.cli.parsing import Parser
from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, read_record
from videonl.evaluation.about import describe_network, digest_of
from videonl.files import write_text
from videonl.models.checkpoints import Trained, read_weights, trained_of
from videonl.models.hub import require_hub, upload
from videonl.models.locating import weights_file
from videonl.models.sharing import CARD, FIGURES, WRITTEN, write_shared
from videonl.models.trust import is_harmless
from videonl.models.weights import Weights
from videonl.outputs import check_folder, refuse_inputs
from videonl.terminal import Console

DESCRIPTION = """Writes a folder in the layout of the Hugging Face Hub: model.safetensors, config.json, the figures of
an evaluation, and a model card, README.md. videonl.load("FOLDER") gives the same logits to the bit."""
_RECORDS = ("test.parquet", "evaluation.parquet")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.\-]*")


def parse(arguments: list[str]) -> None:
    """Runs a command line."""
    parser = Parser(prog="videonl share", description=DESCRIPTION)
    parser.add_argument("run", type=Path, help="The folder of a run, a checkpoint, or converted weights.")
    parser.add_argument("--out", type=Path, required=True, help="A new folder.")
    parser.add_function_arguments(share, skip={"run", "out"})
    words = parser.parse_args(arguments).as_dict()
    share(words.pop("run"), words.pop("out"), **words)


def share(
    run: Path,
    out: Path,
    license: str | None = None,
    evaluation: Path | None = None,
    push: str | None = None,
    private: bool = False,
    trust_code: bool = False,
) -> None:
    """Writes the folder, whole or not at all, and uploads it on demand.

    Args:
        run: The folder of a run, a checkpoint, or converted weights.
        out: A new folder.
        license: Of the weights, as the Hub spells it: apache-2.0, cc-by-nc-4.0, other.
        evaluation: The record of videonl test or evaluate whose figures go along; by default test.parquet or
            evaluation.parquet of the run, where it is of these weights.
        push: Upload to this repository of the Hugging Face Hub, user/name. Needs the extra hub, and a token.
        private: A repository that is new is not public.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
    """
    if license is not None and not _LICENSE.fullmatch(license):
        raise UserError(f"--license {license!r} is not a license identifier; write one such as apache-2.0, or other")
    if push is not None:
        require_hub(push)
    file, folder = weights_file(run), _folder_of(run)
    check_folder(out, file.stat().st_size if file.is_file() else 0)
    refuse_inputs([out], [file, run, *(each for each in (folder, evaluation) if each is not None)])
    weights = read_weights(run)
    trained = trained_of(weights, weights.source, trust_code)
    record, passed_over = _record(evaluation, folder, file, trained.class_names)
    figures = None if record is None else figures_of(record)
    card = _card(out, push, license, trained, weights, figures, folder)
    texts = {CARD: model_card(card)}
    if figures is not None:
        texts[FIGURES] = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    is_new = write_shared(out, weights, texts, __version__)
    written = ", ".join(sorted({*WRITTEN} & {path.name for path in out.iterdir()}))
    lines = [f"{out}: {written}", *([] if is_new else ["it held this network already; nothing in it was changed"])]
    lines += passed_over if record is None else []
    if license is None:
        lines.append("its card states no license, so nobody may use it: --license apache-2.0, or edit README.md")
    _say(lines)
    if push is not None:
        _make_published(out / CARD, card)
        _say([upload(out, push, WRITTEN, private)])


def _card(
    out: Path,
    push: str | None,
    license: str | None,
    trained: Trained,
    weights: Weights,
    figures: dict[str, Any] | None,
    folder: Path | None,
) -> Card:
    return Card(
        name=push or out.resolve().name,
        is_published=push is not None,
        network=describe_network(trained.network),
        clip=trained.clip,
        class_names=trained.class_names if trained.are_classes_named else None,
        num_classes=len(trained.class_names),
        license=license,
        restrictions=weights.license,
        origin=None if folder else without_folders(weights.origin or weights.source),
        figures=figures,
        training=_training(folder),
        needs_trust=not is_harmless(weights.network or {}, weights.clip.get("sampling", "dense")),
    )


def _make_published(path: Path, card: Card) -> None:
    """The card of a folder that was written before without ``--push`` gets the repository's name; edited it stays."""
    own = model_card(replace(card, name=path.resolve().parent.name, is_published=False))
    if path.read_text(encoding="utf-8", errors="replace") == own:
        write_text(path, model_card(card))


def _say(lines: list[str]) -> None:
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _folder_of(run: Path) -> Path | None:
    """The folder of the run that a checkpoint is of."""
    if run.is_dir():
        return run
    return run.parent.parent if run.parent.name == "checkpoints" else None


def _record(
    evaluation: Path | None, folder: Path | None, file: Path, class_names: list[str]
) -> tuple[EvaluationRecord | None, list[str]]:
    """The evaluation that goes along, and why others do not.

    Raises:
        UserError: The one asked for is of another network, or of no labeled videos.
    """
    if evaluation is not None:
        record = read_record(evaluation)
        if (reason := _unfit(record, file, class_names, is_asked=True)) is not None:
            raise UserError(f"--evaluation {evaluation} {reason}")
        return record, []
    passed_over = []
    for path in [folder / name for name in _RECORDS] if folder else []:
        if path.is_file():
            record = read_record(path)
            if (reason := _unfit(record, file, class_names, is_asked=False)) is None:
                return record, []
            passed_over.append(f"{path} {reason}; its figures are left out")
    return None, passed_over or ["no figures: there is no evaluation of these weights; --evaluation FILE names one"]


def _unfit(record: EvaluationRecord, file: Path, class_names: list[str], is_asked: bool) -> str | None:
    if record.class_names != class_names:
        return f"is of another network: it has {len(record.class_names)} classes, named otherwise"
    if not record.labeled:
        return "has no video with a known class, so it has no accuracy"
    stated = re.search(r"\(SHA-256 (\w+)\)$", record.about.get("checkpoint", ""))
    if stated is None:
        return None if is_asked else "does not say which weights it is of; --evaluation takes it all the same"
    if stated[1] != digest_of(file):
        return f"is of other weights, those of {without_folders(record.about['checkpoint'])}"
    return None


def _training(folder: Path | None) -> dict[str, Any]:
    """What a run's configuration says of its training; nothing where there is none."""
    if folder is None or not (folder / "config.yaml").is_file():
        return {}
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{folder / 'config.yaml'} cannot be read ({error})") from error
    return content if isinstance(content, dict) else {}
