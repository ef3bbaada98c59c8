"""The settings that a report states."""

from collections.abc import Mapping
from datetime import date
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


def describe_source(source: str, root: object = None) -> str:
    """A source of videos as it was given, with the folder that it is relative to.

    >>> describe_source("clips.csv#val", "data/ucf101")
    'clips.csv#val (root data/ucf101)'
    """
    return f"{source} (root {root})" if root else source


def today() -> dict[str, str]:
    """Today's date, which does not matter for resuming an evaluation."""
    return {"date": date.today().isoformat()}
