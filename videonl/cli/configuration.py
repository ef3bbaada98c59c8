"""Configuration files that state only what differs from others, through a key ``extends``."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from videonl.cli.names_as_text import load_names_as_text, names_as_text
from videonl.errors import UserError

FLAGS = ("--config", "-c")


def shipped_configs() -> Path:
    """The folder of configurations that comes with videonl, from a wheel or from a source tree."""
    package = Path(str(files("videonl")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def expand(arguments: Sequence[str]) -> list[str]:
    """Replaces every ``--config FILE`` by the text of that file merged with all that it extends.

    Args:
        arguments: A command line, without the program's name.

    Returns:
        The same command line with each configuration as YAML text, which the parser takes as it takes a file.

    Raises:
        UserError: For a missing or malformed file, or one that extends itself.
    """
    expanded: list[str] = []
    before = ""
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if before in FLAGS:
            argument = _text(argument)
        elif equals and flag in FLAGS:
            argument = f"{flag}={_text(value)}"
        elif equals:
            argument = f"{flag}={names_as_text(value, flag)}"
        else:
            argument = names_as_text(argument, before)
        before = argument if argument.startswith("-") and before not in FLAGS else ""
        expanded.append(argument)
    return expanded


def load(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a configuration and what it extends; the file's own values win.

    Args:
        path: A YAML file. Under ``extends`` it may list others, relative to itself or among those shipped.
        extending: The files that led here, to notice a circle.

    Returns:
        The merged configuration, without ``extends``.

    Raises:
        UserError: As :func:`expand`.
    """
    path = path.resolve()
    if path in extending:
        raise UserError(f"{path} extends itself, by way of {' and '.join(str(other) for other in extending)}")
    own = _read(path)
    bases = own.pop("extends", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged = merge(merged, load(_find(base, path.parent), (*extending, path)))
    return merge(merged, own)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lays one mapping over another: mappings are merged key by key, all else is replaced.

    Example:
        >>> merge({"data": {"root": "a", "seed": 1}}, {"data": {"root": "b"}})
        {'data': {'root': 'b', 'seed': 1}}
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _text(name: str) -> str:
    return yaml.safe_dump(load(_find(name, Path())), sort_keys=False)


def _find(name: str, folder: Path) -> Path:
    for path in (folder / name, shipped_configs() / name):
        if path.is_file():
            return path
    raise UserError(f"configuration {folder / name} does not exist, nor {name} among those in {shipped_configs()}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = load_names_as_text(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"configuration {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"configuration {path} must be a mapping of keys to values")
    return content
