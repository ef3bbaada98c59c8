"""A study file: read, checked, and taken apart into cells, before anything is trained."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from videonl.cli.configuration import load, merge, shipped_configs
from videonl.cli.foreign_code import expand_trusted
from videonl.cli.run_parsing import check_run
from videonl.cli.summary import plan_of
from videonl.errors import UserError
from videonl.evaluation.metrics import TITLES
from videonl.models import ClipClassifier
from videonl.profiling import profile_network, require_clip
from videonl.study import Cell, Cost, Study
from videonl.study.folder import CellFolder
from videonl.temporary import temporary_folder
from videonl.terminal import printable

KEYS = ("name", "base", "variants", "folds", "seeds", "test", "baseline", "metric")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
_MOST_SEED = 2**32 - 1
# What the study itself sets for every cell, and why nothing else may.
_SET = ("seed_everything", "ckpt_path", "run.dir", "run.overwrite")
_SET_OF_TEST = ("seed_everything", "run.dir", "run.overwrite")
Settings = dict[str, Any]


def read_study(path: Path) -> Study:
    """Reads a study file and builds every variant, by its parser and by shapes.

    Args:
        path: A YAML file; what it may have is in docs/study.md. It may extend other study files.

    Raises:
        UserError: On one line: what is wrong with it.
    """
    if not path.is_file():
        raise UserError(f"study {path} does not exist")
    content = load(path, visit=_resolve)
    if unknown := content.keys() - {*KEYS}:
        raise UserError(f"study {path}: unknown key {min(unknown)!r}; the keys are {', '.join(KEYS)}")
    variants = _settings_by_name(path, content, "variants")
    if not variants:
        raise UserError(f"study {path}: variants must name at least one; write variants: {{NAME: {{}}}}")
    folds: Mapping[str | None, Settings] = _settings_by_name(path, content, "folds") or {None: {}}
    base, test = _base(path, content), _overrides(f"study {path}: test", content.get("test"), _SET_OF_TEST)
    test.pop("extends", None)
    cells = [
        Cell(variant, seed, _laid(base, own, of_fold), test, fold)
        for seed in _seeds(path, content)
        for fold, of_fold in folds.items()
        for variant, own in variants.items()
    ]
    study = Study(
        _text(path, content, "name") or path.stem,
        tuple(cells),
        _known(path, content, "baseline", variants),
        _known(path, content, "metric", TITLES),
    )
    return Study(study.name, study.cells, study.baseline, study.metric, _build(path, study))


def _resolve(path: Path, own: Settings) -> None:
    """Makes the files that a study file names independent of where they are named."""
    if "base" in own:
        own["base"] = _each_file(own["base"], path.parent)
    for part in ("variants", "folds"):
        if isinstance(own.get(part), dict):
            own[part] = {name: _each_file(value, path.parent) for name, value in own[part].items()}


def _each_file(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_each_file(item, folder) for item in value]
    return _found(value, folder) if isinstance(value, str) else value


def _found(name: str, folder: Path) -> str:
    """A configuration, beside the study file, from the working folder, or among those shipped."""
    shipped = shipped_configs()
    for path in (folder / name, Path(name), shipped / name):
        if path.is_file():
            # Shipped ones by their own names: another machine may have them elsewhere.
            inside = path.resolve().is_relative_to(shipped.resolve())
            return str(path.resolve().relative_to(shipped.resolve()) if inside else path.resolve())
    raise UserError(f"configuration {folder / name} does not exist, and {shipped} has no {name}")


def _base(path: Path, content: Settings) -> Settings:
    base = _overrides(f"study {path}: base", content.get("base"), ("ckpt_path",))
    if not base:
        raise UserError(f"study {path}: base must name the configuration of a training, or be a list of them")
    return base


def _laid(*layers: Settings) -> Settings:
    """The settings of a cell, the last layer on top; the files are kept, as modules may lie beside them."""
    merged: Settings = {}
    for layer in layers:
        files = [*merged.get("extends", []), *layer.get("extends", [])]
        merged = {**merge(merged, layer), "extends": list(dict.fromkeys(files))}
    return merged


def _loaded(file: str) -> Settings:
    path = Path(file)
    return load(path if path.is_absolute() else shipped_configs() / path)


def _settings_by_name(path: Path, content: Settings, part: str) -> dict[Any, Settings]:
    given = content.get(part, {})
    if not isinstance(given, dict):
        raise UserError(f"study {path}: {part} must be a mapping of names to settings, got {given!r}")
    for name in given:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"study {path}: {part} has the name {name!r}; a name is of letters, digits and _ . + -, quoted where "
                "YAML would read it as something else"
            )
    return {name: _overrides(f"study {path}: {part}.{name}", value, _SET) for name, value in given.items()}


def _overrides(place: str, value: Any, refused: tuple[str, ...]) -> Settings:
    """The settings that a variant has of its own: options by their dotted names, files, or a list of both."""
    merged: Settings = {}
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            merged = _laid(merged, {**_loaded(item), "extends": [item]})
        elif isinstance(item, dict) and all(isinstance(key, str) for key in item):
            for key, each in item.items():
                merged = merge(merged, _nested(key.removeprefix("--"), each))
        elif item is not None:
            raise UserError(f"{place} must be a mapping of options such as model.optimization.lr to values, or a file")
    if set_here := next((key for key in refused if _has(merged, key)), None):
        raise UserError(f"{place} sets {set_here}, which the study sets for every cell; remove it")
    return merged


def _nested(dotted: str, value: Any) -> Settings:
    """The mapping that an option by its dotted name stands for.

    >>> _nested("model.optimization.lr", 0.1)
    {'model': {'optimization': {'lr': 0.1}}}
    """
    for key in reversed(dotted.split(".")):
        value = {key: value}
    nested: Settings = value
    return nested


def _has(content: Any, dotted: str) -> bool:
    for key in dotted.split("."):
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def _seeds(path: Path, content: Settings) -> list[int]:
    seeds = content.get("seeds")
    if isinstance(seeds, list) and seeds and all(type(seed) is int and 0 <= seed <= _MOST_SEED for seed in seeds):
        return seeds
    raise UserError(f"study {path}: seeds must be a list of whole numbers such as [0, 1, 2], got {seeds!r}")


def _text(path: Path, content: Settings, key: str) -> str | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UserError(f"study {path}: {key} must be text, got {value!r}")
    return value


def _known(path: Path, content: Settings, key: str, known: Mapping[str, Any]) -> str | None:
    value = _text(path, content, key)
    if value is not None and value not in known:
        raise UserError(f"study {path}: {key} {value!r} is not one of {', '.join(known)}")
    return value


def _build(path: Path, study: Study) -> dict[str, Cost]:
    """Parses every variant of every fold as its cells will, and builds its network by shapes alone.

    Returns:
        What the networks cost, by variant.
    """
    costs: dict[str, Cost] = {}
    with temporary_folder() as folder:
        for cell in [cell for cell in study.cells if cell.seed == study.cells[0].seed]:
            with _naming(f"study {path}: variant {cell.variant}" + f" of fold {cell.fold}" * (cell.fold is not None)):
                checked = CellFolder(folder / cell.name)
                checked.write_configurations(cell)
                config = _checked(checked, "fit")
                if cell is study.cells[0]:  # what tests have else is the same of all
                    _checked(checked, "test")
                if cell.variant not in costs and (cost := _cost(config)) is not None:
                    costs[cell.variant] = cost
    return costs


def _checked(folder: CellFolder, subcommand: str) -> Settings:
    return check_run(subcommand, expand_trusted(["--config", str(folder.path / f"{subcommand}.yaml")], trusted=True))


def _cost(config: Settings) -> Cost | None:
    """What the network of a configuration costs; None for a network of one's own class, which needs its data."""
    if config["model"]["network"]["class_path"] != f"videonl.models.{ClipClassifier.__name__}":
        return None
    (parameters, macs), (more_parameters, more_macs) = (_counted(config, number) for number in (2, 3))
    return Cost(parameters, macs, more_parameters - parameters, more_macs - macs)


def _counted(config: Settings, num_classes: int) -> tuple[int, int]:
    plan = plan_of(config, num_classes)
    network = plan.network
    require_clip(network, plan.clip)
    rows = profile_network(network.network, network.stages, network.blocks, plan.clip)
    return sum(row.parameters for row in rows), sum(row.macs for row in rows)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Says on one line which variant does not build, and why."""
    try:
        yield
    except Exception as error:  # whatever a network raises for settings that do not go together
        message = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{place} does not build: {printable(message)}") from error
