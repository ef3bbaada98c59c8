"""The settings that a report states."""

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from torch import nn


def describe_network(network: nn.Module) -> dict[str, str]:
    """Backbone and blocks in words.

    Args:
        network: Any network. One with ``settings`` says how its backbone was built, one with ``blocks`` what stands
            where; of others the class is named.
    """
    settings: Mapping[str, Any] = getattr(network, "settings", {"backbone": type(network).__name__})
    options = {"width": settings.get("width"), **(settings.get("backbone_options") or {})}
    given = [f"{name} {value}" for name, value in options.items() if value is not None]
    places: dict[str, list[str]] = {}
    for name, block in getattr(network, "blocks", {}).items():
        places.setdefault(block.kind, []).append(name)
    blocks = "; ".join(f"{kind.replace('_', ' ')} after {', '.join(names)}" for kind, names in places.items())
    return {"backbone": ", ".join([settings["backbone"], *given]), "blocks": blocks or "none"}


def describe_checkpoint(name: object, file: Path) -> str:
    """A network by its name and, where it lies in a file, by what the file holds.

    Args:
        name: As it was given.
        file: The file with its weights; for a published name there may be none.
    """
    return f"{name} (SHA-256 {digest_of(file)})" if file.is_file() else str(name)


def digest(content: bytes) -> str:
    """Tells one content from another: the first 16 digits of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def digest_of(file: Path) -> str:
    """Tells one file from another."""
    return digest(file.read_bytes())


def describe_source(source: str, root: object = None) -> str:
    """A source of videos as it was given, with the folder that it is relative to.

    >>> describe_source("clips.csv#val", "data/ucf101")
    'clips.csv#val (root data/ucf101)'
    """
    return f"{source} (root {root})" if root else source


def today() -> dict[str, str]:
    """Today's date, which does not matter for resuming an evaluation."""
    return {"date": date.today().isoformat()}
