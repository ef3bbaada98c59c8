"""Code that a configuration names: a foreign one must be trusted before it is imported; one's own lies beside it."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

from videonl.cli.configuration import expand
from videonl.cli.own_parts import imports_of, with_parts_imported
from videonl.data.sources.own import is_own_source, name_of_source
from videonl.errors import UserError
from videonl.models.trust import BUILDERS, require_block, require_builder, require_sampling
from videonl.runtime.own_modules import find_own_modules

_TRUST = "A configuration is code. If you trust this one, add --trust-code"
KNOWN = ("videonl", "torch", "torchvision", "pytorchvideo", "lightning")
FLAGS = ("--trust-code", "--trust_code")

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def split_trust(words: Sequence[str]) -> tuple[list[str], bool]:
    """A command line without ``--trust-code``, and whether it was there. A configuration cannot set it."""
    return [word for word in words if word not in FLAGS], any(word in FLAGS for word in words)


def expand_trusted(words: Sequence[str], trusted: bool) -> list[str]:
    """As :func:`videonl.cli.configuration.expand`; then the modules that the files name are found beside them too.

    Args:
        words: A command line.
        trusted: Whether the files may name any code. Of it, this function imports what they list as ``imports``.

    Raises:
        UserError: A file names code that may not run unless it is trusted.
    """
    files: dict[Path, Any] = {}
    expanded = expand(words, files.__setitem__)
    unread = [_files_named_in([word.rpartition("=")[2] for word in words], Path())]
    unread += [_files_named_in(content, path.parent) for path, content in files.items()]
    while unread:
        for path in unread.pop():
            if path not in files and (content := _read(path)) is not None:
                files[path] = content
                unread.append(_files_named_in(content, path.parent))
    if not trusted:
        for path, content in files.items():
            _require_known(path, content)
    _find_beside(files)
    return with_parts_imported(expanded)


def _find_beside(files: Mapping[Path, Any]) -> None:
    folders = {
        name.partition(".")[0]: path.parent.resolve()
        for path, content in files.items()
        for name in [*_names(content), *imports_of(content, path)]
    }
    find_own_modules({root: str(folder) for root, folder in folders.items() if root not in KNOWN})


def _names(content: Any, of_object: bool = False) -> Iterator[str]:
    """Every dotted path in a configuration that is, or might be, imported."""
    if isinstance(content, dict):
        of_object = of_object or "class_path" in content
        for key, value in content.items():
            yield from _names(value, of_object or key in ("class_path", "backbone", "block", "sampling"))
    elif isinstance(content, list):
        for value in content:
            yield from _names(value, of_object)
    elif isinstance(content, str) and is_own_source(content):
        yield name_of_source(content)
    elif of_object and isinstance(content, str) and _DOTTED.fullmatch(content):
        yield content


def _require_known(path: Path, content: Any) -> None:
    if imports := imports_of(content, path):
        raise UserError(f"{path} imports {', '.join(imports)}, which would run. {_TRUST}")
    for mapping in _mappings(content):
        if isinstance(backbone := mapping.get("backbone"), str):
            options = mapping.get("backbone_options")
            require_builder(path, backbone, options if isinstance(options, dict) else {})
        if isinstance(block := mapping.get("block"), str):
            require_block(path, block)
        if "sampling" in mapping:
            require_sampling(path, mapping["sampling"])
        if source := next((value for value in mapping.values() if is_own_source(value)), None):
            raise UserError(f"{path} lists its videos with {source}, which would run. {_TRUST}")
    for name in _names(content):
        root = name.partition(".")[0]
        if root not in KNOWN and _is_module(root, path.parent):
            raise UserError(
                f"{path} names {name}, which is not part of {', '.join(KNOWN[:-1])} or {KNOWN[-1]}. A configuration "
                "is code: videonl runs what it names. If you trust this one, add --trust-code"
            )
        if root in KNOWN and not _is_harmless(name):
            raise UserError(f"{path} names {name}, which is no class of {root}, and would run. {_TRUST}")


def _is_harmless(name: str) -> bool:
    """Whether a path into a known package leads to a class of such a package, to no code, or nowhere.

    Functions are not: ``torch.hub.load`` runs what its arguments name. Nor is what a module has from elsewhere, such as
    ``torch.os.system``.
    """
    try:
        target = resolve_name(name)
    except Exception:  # it is no path, and whoever wants one there says so
        return True
    is_known = str(getattr(target, "__module__", "")).partition(".")[0] in KNOWN
    return not callable(target) or name in BUILDERS or (isinstance(target, type) and is_known)


def _mappings(content: Any) -> Iterator[dict[Any, Any]]:
    if isinstance(content, dict):
        yield content
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _mappings(value)


def _is_module(root: str, folder: Path) -> bool:
    return root in sys.modules or any((find_spec(root), PathFinder.find_spec(root, [str(folder)])))


def _files_named_in(content: Any, folder: Path) -> Iterator[Path]:
    """What could be further files that the parser reads in place of a value."""
    if isinstance(content, dict):
        # Strings among the data are sources, never configurations.
        content = [value for key, value in content.items() if key != "data" or isinstance(value, str)]
    if isinstance(content, list):
        for value in content:
            yield from _files_named_in(value, folder)
    elif isinstance(content, str):
        yield from {Path(content), folder / content}


def _read(path: Path) -> Any:
    """What a YAML file holds; None where a path leads to none."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            if b"\0" in file.peek():  # a video, a checkpoint
                return None
            content = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError):  # it is no configuration, for the parser neither
        return None
    return content if isinstance(content, dict | list) else None
