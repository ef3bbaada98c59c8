"""videonl: spacetime attention in 3D CNNs for action recognition."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("videonl")
except PackageNotFoundError:  # running from a source tree that is not installed
    __version__ = "0+source"

# The front door: where its names live. They are imported when they are first used, for torch takes seconds.
_NAMES = {"register_block": "videonl.blocks"}
__all__ = ["__version__", *_NAMES]  # the names of __getattr__ below


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'videonl' has no attribute {name!r}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_NAMES]
