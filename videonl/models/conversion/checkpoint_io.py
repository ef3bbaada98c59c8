"""Reads untrusted checkpoints without running any code in them."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.models.conversion.beside_weights import load_weights_alone
from videonl.models.tensor_file import is_safetensors, read_safetensors
from videonl.pickles import refusal_of_code

# All that a pickle of numpy arrays calls, under the names of numpy 1 and 2; Python 2 wrote no others.
ARRAY_PARTS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("_codecs", "encode"),
}

# Training scripts keep weights under one of these, whichever project's network they train.
WRAPPINGS = ("state_dict", "model_state", "model_state_dict", "model")


class ArraysOnly(pickle.Unpickler):
    """Unpickles plain data and numpy arrays, and rejects everything else before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        """Admits what arrays are made of."""
        if (module, name) not in ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it uses {module}.{name}, which is not part of a numpy array")
        # numpy 2 moved the module, and warns where the old name is used.
        return super().find_class(_present(module), name)


def read_torch(path: Path) -> Any:
    """Reads a file of ``torch.save`` that holds plain data and tensors, or a safetensors file.

    Raises:
        UserError: When the file is missing or holds anything else; nothing in it runs.
    """
    _require_file(path)
    if is_safetensors(path):
        return read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of files that are no checkpoints
            return load_weights_alone(path)
    except Exception as error:  # a file of any bytes may break the unpickler in any way
        damaged = f"{path} cannot be read as weights alone ({_first_sentence(error)}); was it copied completely?"
        raise UserError(refusal_of_code(path) or damaged) from error


def read_arrays(path: Path) -> Any:
    """Reads a pickle that holds plain data and numpy arrays, as Caffe2 and Flax networks are kept.

    Raises:
        UserError: When the file is missing or holds anything else; nothing in it runs.
    """
    _require_file(path)
    try:
        with path.open("rb") as file:
            return ArraysOnly(file, encoding="latin1").load()  # Python 2 strings
    except Exception as error:  # a file of any bytes may break the unpickler in any way
        damaged = f"{path} cannot be read as a pickle of numpy arrays: {_first_sentence(error)}"
        raise UserError(refusal_of_code(path) or damaged) from error


def tensors(content: Any, under: tuple[str, ...], what: str) -> dict[str, Tensor]:
    """The weights of a checkpoint, which are all of it or lie under one of some names.

    Args:
        content: What was read.
        under: Names that the project keeps its weights under; those of other training scripts are known too.
        what: Whose checkpoint this should be, for messages.

    Raises:
        UserError: When there are no tensors by name.
    """
    for name in dict.fromkeys((*under, *WRAPPINGS)):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    named = isinstance(content, Mapping) and bool(content) and all(isinstance(key, str) for key in content)
    if not named or not all(isinstance(value, Tensor) for value in content.values()):
        places = " or ".join(repr(name) for name in under)
        raise UserError(f"this is not a checkpoint of {what}: it has no tensors by name{places and f' under {places}'}")
    # DistributedDataParallel prefixes every key.
    return {key.removeprefix("module."): value for key, value in content.items()}


def blobs(content: Any) -> dict[str, Tensor]:
    """The arrays of a Caffe2 pickle as tensors, without what only its training needs.

    Raises:
        UserError: When it holds none, or arrays of something other than numbers.
    """
    found = content.get("blobs", content) if isinstance(content, Mapping) else None
    if not isinstance(found, Mapping) or not found or not all(isinstance(key, str) for key in found):
        raise UserError("this is not a checkpoint of video-nonlocal-net: it has no arrays by name under 'blobs'")
    kept = {key: value for key, value in found.items() if not _of_training(key)}
    for key, value in kept.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise UserError(f"blob {key} is not an array of floating numbers")
    # A copy in the machine's byte order, since torch takes no other.
    return {key: torch.from_numpy(value.astype(value.dtype.newbyteorder("="))) for key, value in kept.items()}


def _of_training(key: str) -> bool:
    return key in ("lr", "model_iter") or key.endswith("_momentum")


def _present(module: str) -> str:
    renamed = module.replace("numpy.core", "numpy._core")
    return renamed if hasattr(np, "_core") else module.replace("numpy._core", "numpy.core")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file")


def _first_sentence(error: Exception) -> str:
    """Only the first sentence: the next one suggests weights_only=False, which would run code in the file."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return text.split(". ")[0]
