"""A network to give away: a folder in the layout of the Hugging Face Hub.

``model.safetensors`` holds the weights, ``config.json`` all that they cannot be used without, as plain data. Neither
has a place for code. ``huggingface_hub.ModelHubMixin`` is not used: it builds a class from keyword arguments that a
file names, and here what a file may name is limited by :mod:`videonl.models.trust`.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.files import whole_folder
from videonl.models.tensor_file import read_safetensors, safetensors_of
from videonl.models.trust import odd_value
from videonl.models.weights import TASK, Weights

FORMAT = 1
WEIGHTS, CONFIG, CARD, FIGURES = "model.safetensors", "config.json", "README.md", "evaluation.json"
READ = (WEIGHTS, CONFIG)
WRITTEN = (*READ, CARD, FIGURES)
_LIBRARY = "videonl"
_NUMBERS = (int, float)
_OF_CLIP = {
    **dict.fromkeys(("num_frames", "stride_frames", "short_side_px", "crop_px"), (int,)),
    **dict.fromkeys(("mean", "std"), (list,)),
    "stride_seconds": (*_NUMBERS, type(None)),
    "sampling": (str,),
}


def is_shared(folder: Path) -> bool:
    """Whether a folder looks like one that :func:`write_shared` wrote, whole or damaged."""
    return any((folder / name).is_file() for name in READ)


def write_shared(folder: Path, weights: Weights, texts: Mapping[str, str], version: str) -> bool:
    """Writes a network's folder, all or nothing, and reads it back.

    Args:
        folder: A new or empty folder, or one that holds this network already, which is left as it is: somebody may have
            written more into its card.
        weights: Of a whole classifier.
        texts: Further files by name.
        version: Of videonl.

    Returns:
        Whether it was written, and was not there already.

    Raises:
        UserError: The folder holds something else or cannot be written, or what the network is made of is not plain
            data.
    """
    contents = {WEIGHTS: _tensors(weights), CONFIG: _config(weights, version).encode(errors="backslashreplace")}
    contents |= {name: text.encode(errors="backslashreplace") for name, text in texts.items()}
    if folder.is_dir() and any(folder.iterdir()):
        _require_same(folder, contents)
        return False
    with whole_folder(folder) as unfinished:
        for name, content in contents.items():
            (unfinished / name).write_bytes(content)
        _require_equal(read_shared(unfinished), weights)
    return True


def read_shared(folder: Path, source: object = None) -> Weights:
    """Reads what :func:`write_shared` wrote; nothing in it runs.

    Args:
        folder: The folder.
        source: What to call it, where that is not its path.

    Raises:
        UserError: A file is missing or damaged, or the folder is of another version or another library.
    """
    name = str(folder if source is None else source)
    for file in READ:
        if not (folder / file).is_file():
            raise UserError(f"{name} is not a network of videonl share: it has no {file}; was it copied completely?")
    config = _read_config(folder / CONFIG, name)
    state = read_safetensors(folder / WEIGHTS)
    try:
        clip = _checked_clip(config["clip"])
        weights = Weights(state, name, dict(config["network"]), None, clip, None, config["reads"], config["license"])
        weights = replace(weights, **{key: config[key] for key in TASK if key in config})
        names = config["class_names"]
        if names is None:
            return weights
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise TypeError("class_names is not a list of names")
        return weights.named(names)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{name}: {CONFIG} does not describe a network of videonl ({error!r}); share it again"
        ) from error


def _read_config(path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{name}: {CONFIG} is damaged ({error}); share or download it again") from error
    if not isinstance(config, dict) or config.get("library_name") != _LIBRARY:
        raise UserError(f"{name} is not a network of videonl share: its {CONFIG} is another library's")
    if config.get("format") != FORMAT:
        raise UserError(
            f"{name} is of format {config.get('format')}, written by videonl {config.get('videonl_version')}, and this "
            f"videonl reads {FORMAT}: install that version, or share the original again"
        )
    return config


def _checked_clip(clip: Any) -> dict[str, Any]:
    """The clip format with the types it is used with; its values are checked where it is used."""
    clip = dict(clip)
    for name, value in clip.items():
        if type(value) not in _OF_CLIP[name]:
            raise TypeError(f"clip.{name} is {value!r}")
        if isinstance(value, list) and not all(type(each) in _NUMBERS for each in value):
            raise TypeError(f"clip.{name} is {value!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in clip.items()}


def _config(weights: Weights, version: str) -> str:
    assert weights.network is not None
    network = {name: value for name, value in weights.network.items() if name != "execution"}  # that of one machine
    config = {
        "library_name": _LIBRARY,
        "videonl_version": version,
        "format": FORMAT,
        "network": network,
        "clip": weights.clip,
        "class_names": weights.class_names,
        "reads": weights.reads,
        "license": weights.license,
        **weights.about_task(),
    }
    if (odd := odd_value(config)) is not None:
        raise UserError(f"{weights.source}: its network is described by a {odd}, which is not plain data")
    try:
        return json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise UserError(
            f"{weights.source}: its network is described by a number that JSON has not ({error})"
        ) from error


def _tensors(weights: Weights) -> bytes:
    for key, value in weights.state.items():
        if not isinstance(value, Tensor):
            raise UserError(f"{weights.source}: {key} is a {type(value).__name__} and no tensor; it cannot be shared")
    return safetensors_of(dict(weights.state))


def _require_same(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        is_own = name == CARD or ((folder / name).is_file() and (folder / name).read_bytes() == content)
        if not is_own:
            raise UserError(
                f"{folder} holds something else, which would be lost: {name} is missing or another; name a new folder"
            )


def _require_equal(found: Weights, weights: Weights) -> None:
    for key, value in weights.state.items():
        same = found.state[key].dtype == value.dtype and torch.equal(found.state[key], value.cpu())
        if not same and not value.isnan().any():
            raise UserError(f"{weights.source}: {key} could not be written as it is")
