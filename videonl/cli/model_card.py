"""The card of a shared network: what it is, how good it is, on what; without a folder or a user of this machine."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from videonl.data.transforms import ClipFormat
from videonl.evaluation import EvaluationRecord, accuracies, stack
from videonl.evaluation.intervals import CONFIDENCE, accuracy_intervals, caution
from videonl.evaluation.metrics import TITLES
from videonl.evaluation.views import require_finite
from videonl.terminal import printable

_FEW_CLASSES = 60
_ROOT = re.compile(r"(?P<source>.*) \(root (?P<root>.*)\)", re.DOTALL)
_DIGEST = re.compile(r" \(SHA-256 \w+\)$")


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        name: Of the repository, ``user/name``, or of the folder.
        is_published: Whether it is a repository's.
        network: Backbone and blocks in words.
        clip: The clip format as plain data.
        class_names: Names of the classes, where they are known.
        num_classes: How many there are.
        license: As the Hub spells it.
        restrictions: What was known of the license before.
        origin: Where weights that no run of videonl trained come from.
        figures: As :func:`figures_of` returns them.
        training: The run's configuration.
        needs_trust: Whether the network has parts of somebody's own code.
    """

    name: str
    is_published: bool
    network: Mapping[str, str]
    clip: Mapping[str, Any]
    class_names: list[str] | None
    num_classes: int
    license: str | None
    restrictions: str | None
    origin: str | None
    figures: Mapping[str, Any] | None
    training: Mapping[str, Any]
    needs_trust: bool = False


def figures_of(record: EvaluationRecord) -> dict[str, Any]:
    """Accuracies with their intervals, and what they are of, as plain data.

    Raises:
        UserError: Scores are not finite.
    """
    require_finite(record.labeled)
    probabilities, labels = stack(record.labeled)
    intervals = accuracy_intervals(probabilities, labels)
    about = record.about
    return {
        "accuracies": {
            name: {"value": value, "interval": list(intervals[name])}
            for name, value in accuracies(probabilities, labels).items()
        },
        "confidence": CONFIDENCE,
        "num_videos": len(record.labeled),
        "num_unreadable": len(record.unreadable),
        "videos": without_folders(about["videos"]) if "videos" in about else None,
        "views": about.get("views"),
        "average": record.average,
        "clip": about.get("clip"),
        "date": about.get("date"),
    }


def without_folders(name: str) -> str:
    """A file, source or checkpoint by its last name alone: its folders stay private.

    >>> without_folders("clips.csv#val (root /home/ann/data/ucf101)")
    'clips.csv#val (root ucf101)'
    >>> without_folders("/home/ann/best.ckpt (SHA-256 0123456789abcdef)"), without_folders("/home/ann")
    ('best.ckpt', 'a folder')
    """
    match = _ROOT.fullmatch(_DIGEST.sub("", name))
    if match is not None:
        return f"{_last(match['source'])} (root {_last(match['root'])})"
    return _last(_DIGEST.sub("", name))


def _last(name: str) -> str:
    path = PurePath(name.rstrip("/"))
    # Of somebody's home the last name is their own.
    is_home = path.parent.name in ("home", "Users") or path == PurePath(Path.home()) or path.name.startswith("~")
    return "a folder" if is_home or not path.name else printable(path.name)


def model_card(card: Card) -> str:
    """The text of README.md."""
    front = yaml.safe_dump(_front(card), sort_keys=False, allow_unicode=True)
    parts = [f"# {card.name}", _what(card), _use(card), *_figures(card.figures), *_data(card), _clips(card.clip)]
    return f"---\n{front}---\n\n" + "\n\n".join([*parts, *_classes(card), _license(card)]) + "\n"


def _front(card: Card) -> dict[str, Any]:
    front: dict[str, Any] = {} if card.license is None else {"license": card.license}
    front |= {
        "library_name": "videonl",
        "pipeline_tag": "video-classification",
        "tags": ["video-classification", "action-recognition"],
        "metrics": ["accuracy"],
    }
    if card.figures is not None:
        front["model-index"] = [{"name": card.name.rpartition("/")[2], "results": [_results(card.figures)]}]
    return front


def _results(figures: Mapping[str, Any]) -> dict[str, Any]:
    videos = figures["videos"] or "unnamed"
    metrics = [
        {"type": "accuracy", "name": f"{TITLES[name]} accuracy", "value": round(100 * found["value"], 2)}
        for name, found in figures["accuracies"].items()
    ]
    dataset = {"name": videos, "type": re.sub(r"\W+", "-", videos).strip("-").lower() or "videos"}
    return {"task": {"type": "video-classification"}, "dataset": dataset, "metrics": metrics}


def _what(card: Card) -> str:
    blocks = card.network["blocks"]
    with_blocks = "without attention blocks" if blocks == "none" else f"with attention blocks ({blocks})"
    origin = f" Its weights were converted from {card.origin}." if card.origin else ""
    return (
        f"Classifies video clips into {card.num_classes} classes, for videonl: the 3D CNN "
        f"`{card.network['backbone']}` {with_blocks}.{origin}"
    )


def _use(card: Card) -> str:
    source = f"hf://{card.name}" if card.is_published else card.name
    install = "pip install 'videonl[hub]'" if card.is_published else "pip install videonl"
    trust = ", trust_code=True" if card.needs_trust else ""
    lines = ["import videonl", f'model = videonl.load("{source}"{trust})', 'print(model.predict("clip.mp4"))']
    own = " and the modules of its parts: their code runs, so trust its author" if card.needs_trust else ""
    return "\n".join(["## Use", "", f"`{install}`{own}, then:", "", "```python", *lines, "```"])


def _figures(figures: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Figures"
    if figures is None:
        yield "No evaluation of these weights is stated."
        return
    rows = ["| accuracy | % | 95 % interval |", "|---|---|---|"]
    for name, found in figures["accuracies"].items():
        low, high = (f"{100 * edge:.2f}" for edge in found["interval"])
        rows.append(f"| {TITLES[name]} | {100 * found['value']:.2f} | {low} to {high} |")
    yield "\n".join(rows)
    of = [f"{figures['num_videos']} videos"]
    of += [f"{figures['num_unreadable']} more could not be read"] if figures["num_unreadable"] else []
    of += [f"source `{figures['videos']}`"] if figures["videos"] else []
    of += [figures["views"]] if figures["views"] else []
    of += [f"{figures['average']} averaged over the views"]
    of += [f"on {figures['date']}"] if figures["date"] else []
    yield f"Of {', '.join(of)}. The intervals are of the bootstrap over videos; `evaluation.json` has all digits."
    if warning := caution(figures["num_videos"]):
        yield warning


def _data(card: Card) -> Iterator[str]:
    data = _mapping(card.training, "data")
    sources = {name: data[name] for name in ("train", "val", "test") if isinstance(data.get(name), str)}
    yield "## Data"
    if not sources:
        yield "The data that it was trained on is not stated." + (f" See {card.origin}." if card.origin else "")
        return
    root = f", in `{_last(data['root'])}`" if isinstance(data.get("root"), str) else ""
    named = ", ".join(f"{name} `{_last(source)}`" for name, source in sources.items())
    yield f"Sources of the run: {named}{root}."
    facts = list(_facts(card.training))
    if facts:
        yield f"Training: {', '.join(facts)}."


def _facts(training: Mapping[str, Any]) -> Iterator[str]:
    trainer, model, data = (_mapping(training, name) for name in ("trainer", "model", "data"))
    optimization = _mapping(model, "optimization")
    known = {
        "started from": _last(str(model["weights"])) if model.get("weights") else None,
        "epochs": trainer.get("max_epochs"),
        "clips of a batch and process": _mapping(data, "loading").get("batch_size"),
        "optimizer": optimization.get("optimizer"),
        "learning rate": optimization.get("lr"),
        "precision": trainer.get("precision"),
    }
    return (f"{name} {value}" for name, value in known.items() if isinstance(value, str | int | float))


def _mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _clips(clip: Mapping[str, Any]) -> str:
    known = ClipFormat(**clip)
    pixels = "; ".join(
        f"{name} {', '.join(f'{value:g}' for value in getattr(known, name))}" for name in ("mean", "std")
    )
    size = f"{known.describe()}, crop {known.crop_px} px"
    return f"## Clips\n\n{size}; RGB from 0 to 1, {pixels}. `videonl.load` brings any video to this."


def _classes(card: Card) -> Iterator[str]:
    yield "## Classes"
    if card.class_names is None:
        yield f"{card.num_classes}, whose names are not known."
    elif len(card.class_names) > _FEW_CLASSES:
        yield f"{len(card.class_names)}, {card.class_names[0]} to {card.class_names[-1]}; `config.json` lists them."
    else:
        yield ", ".join(card.class_names)


def _license(card: Card) -> str:
    stated = f"`{card.license}`" if card.license else "None is stated: ask whoever published this before you use it."
    earlier = f" The weights it comes from: {card.restrictions}." if card.restrictions else ""
    return f"## License\n\n{stated}{earlier}"
