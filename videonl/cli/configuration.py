"""Configuration files that state only what differs from others, through a key ``extends``."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from videonl.cli.names_as_text import load_names_as_text, names_as_text
from videonl.cli.renamed import rename_keys
from videonl.errors import UserError

FLAGS = ("--config", "-c")
SECTIONS = ("trainer", "model", "data", "run")
MOST_VALUES = 100_000  # of a file; aliases of aliases make billions out of a few lines
Visit = Callable[[Path, dict[str, Any]], None]  # is shown every file that is read, and what it alone holds


def shipped_configs() -> Path:
    """The folder of configurations that comes with videonl, from a wheel or from a source tree."""
    package = Path(str(files("videonl")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def expand(arguments: Sequence[str], visit: Visit | None = None) -> list[str]:
    """Replaces every ``--config FILE`` by the text of that file merged with all that it extends.

    Args:
        arguments: A command line, without the program's name.
        visit: Is called for every file.

    Returns:
        The configurations, each as YAML text, which the parser takes as it takes a file; and then all other words.

    Raises:
        UserError: For a missing or malformed file, one that extends itself, or an option that a later one of the
            command line would override as a whole.
    """
    files, others = split_files(arguments)
    _refuse_overridden(others)
    return [*(f"{FLAGS[0]}={_text(file, visit)}" for file in files), *_with_names_as_text(others)]


def run_folder(arguments: Sequence[str]) -> str | None:
    """The folder of a run that no configuration says: ``runs/`` and the experiment's path, below ``experiment/``.

    The experiment is the last file that extends others; those that extend none are laid over it.

    Args:
        arguments: A command line, which :func:`expand` has accepted.

    Returns:
        Such as ``runs/kinetics400/i3d_r50_8x8``; None where no file is named.
    """
    files = [Path(file) for file in split_files(arguments)[0]]
    if not files:
        return None
    experiments = [file for file in files if "extends" in _read(_find(str(file), Path()))]
    *folders, name = _find(str(experiments[-1] if experiments else files[0]), Path()).resolve().with_suffix("").parts
    below = folders[::-1].index("experiment") if "experiment" in folders else 0
    return str(Path("runs", *folders[len(folders) - below :], name))


def _with_names_as_text(words: Sequence[str]) -> list[str]:
    """The words of a command line, of which names of classes that look like numbers are quoted."""
    flags = ["", *(word if word.startswith("-") else "" for word in words)]
    return [
        f"{name}={names_as_text(value, name)}" if equals and name.startswith("-") else names_as_text(word, before)
        for word, before in zip(words, flags, strict=False)
        for name, equals, value in [word.partition("=")]
    ]


def split_files(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files that a command line names by ``--config``, and its other words.

    An option of the command line wins over every file, also over one that is named after it.

    >>> split_files(["--lr", "0.5", "--config", "a.yaml", "-c=b.yaml"])
    (['a.yaml', 'b.yaml'], ['--lr', '0.5'])

    Raises:
        UserError: The last word is ``--config``.
    """
    files: list[str] = []
    others: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        flag, equals, value = argument.partition("=")
        if flag not in FLAGS:
            others.append(argument)
            continue
        file = value if equals else next(remaining, None)
        if not file:
            raise UserError(f"{flag} needs the path of a configuration")
        files.append(file)
    return files, others


def _refuse_overridden(arguments: Sequence[str]) -> None:
    given: list[str] = []
    for flag in (argument.partition("=")[0] for argument in arguments if argument.startswith("--")):
        if lost := next((earlier for earlier in given if earlier.startswith(f"{flag}.")), None):
            raise UserError(f"{flag} stands after {lost} and would override it; give {flag} first")
        given.append(flag)


def load(path: Path, extending: tuple[Path, ...] = (), visit: Visit | None = None) -> dict[str, Any]:
    """Reads a configuration and what it extends; the file's own values win.

    Args:
        path: A YAML file. Under ``extends`` it may list others, relative to itself or among those shipped.
        extending: The files that led here, to notice a circle.
        visit: As of :func:`expand`.

    Returns:
        The merged configuration, without ``extends``.

    Raises:
        UserError: As :func:`expand`.
    """
    path = path.resolve()
    if path in extending:
        raise UserError(f"{path} extends itself through {' and '.join(str(other) for other in extending)}")
    own = _read(path)
    rename_keys(own, str(path))
    if visit is not None:
        visit(path, own)
    bases = own.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"configuration {path}: extends must name a file, or be a list of files, got {bases!r}")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, load(_find(base, path.parent), (*extending, path), visit))
    return merge(merged, own)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lays one mapping over another: mappings are merged key by key, all else is replaced.

    Examples:
        >>> merge({"data": {"root": "a", "seed": 1}}, {"data": {"root": "b"}})
        {'data': {'root': 'b', 'seed': 1}}
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _text(name: str, visit: Visit | None) -> str:
    return yaml.safe_dump(load(_find(name, Path()), visit=visit), sort_keys=False)


def _find(name: str, folder: Path) -> Path:
    for path in (folder / name, shipped_configs() / name):
        if path.is_file():
            return path
    raise UserError(f"configuration {folder / name} does not exist, and {shipped_configs()} has no {name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        if (num_values := _num_values(root)) > MOST_VALUES:
            raise UserError(f"configuration {path} has {num_values:.3g} values, more than the {MOST_VALUES:,} allowed")
        _refuse_twice(root, f"configuration {path}")
        content = load_names_as_text(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError, OSError) as error:
        if isinstance(error, UserError):
            raise
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"configuration {path} is not valid YAML: {reason}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"configuration {path} must be a mapping of keys to values")
    for section in SECTIONS:
        if not isinstance(content.get(section, {}), dict):
            raise UserError(f"configuration {path}: {section} must be a mapping of keys, got {content[section]!r}")
    return content


def _refuse_twice(root: yaml.Node | None, origin: str) -> None:
    """Refuses equal keys, of which YAML lets the last one win without a word.

    Args:
        root: A document without circles.
        origin: The file, for messages.

    Raises:
        UserError: Naming the key.
    """
    unread = [root]
    while unread:
        node = unread.pop()
        if isinstance(node, yaml.MappingNode):
            counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if twice := next((key for key, number in counts.items() if number > 1), None):
                raise UserError(f"{origin}: {twice} is given twice; rename or remove one")
            unread += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            unread += node.value


def _num_values(root: yaml.Node | None) -> float:
    """How many values a document has once its aliases are written out; infinitely many where one holds itself."""
    known: dict[int, float] = {}

    def count(node: yaml.Node) -> float:
        if id(node) not in known:
            known[id(node)] = math.inf  # until it is known: who meets it again below itself
            parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            known[id(node)] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(map(count, parts)))
        return known[id(node)]

    return 0 if root is None else count(root)
