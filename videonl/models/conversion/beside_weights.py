"""What training programs keep beside weights, read past: their objects are not restored, and no code of them runs."""

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

# mmengine's Runner keeps its logs (HistoryBuffer, which names its own methods through getattr), others their options.
KEPT_BESIDE = (
    *("mmengine.", "mmcv.", "mmaction.", "numpy.", "omegaconf.", "yacs.", "pathlib."),
    *("builtins.getattr", "argparse.Namespace", "collections.defaultdict"),
)


class Passed:
    """Stands where an object was, whatever it was made of, and keeps nothing of it."""

    def __new__(cls, *parts: Any) -> "Passed":
        """Takes whatever the object was made of."""
        return super().__new__(cls)

    def __init__(self, *parts: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Drops what the object held."""


def load_weights_alone(path: Path) -> Any:
    """Reads plain data and tensors of a ``torch.save``; objects that programs are known to keep beside them are passed.

    Raises:
        Exception: Whatever torch's restricted unpickler raises for any other object, and for a damaged file.
    """
    passed: list[Any] = [(Passed, name) for name in _objects(path) if name.startswith(KEPT_BESIDE)]
    with torch.serialization.safe_globals(passed):
        return torch.load(path, map_location="cpu", weights_only=True)


def _objects(path: Path) -> list[str]:
    """What the file names beyond plain data and tensors; nothing is imported to find it."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, EOFError, RuntimeError, UnpicklingError):  # the reader of the file says what is wrong with it
        return []
