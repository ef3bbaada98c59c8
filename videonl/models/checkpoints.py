"""Trained networks back from the checkpoints of ``videonl fit``, and from converted weights."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videonl.backbones import is_of_library
from videonl.blocks import BLOCKS
from videonl.errors import UserError
from videonl.models.classifier import ClipClassifier
from videonl.models.weights import FORMAT, Weights

NETWORK_PREFIX = "network.network."  # the LightningModule of a training run keeps the classifier, and that the network


@dataclass(frozen=True)
class Trained:
    """A trained network and what it needs to be used.

    Attributes:
        network: In eval mode, on the CPU.
        class_names: Names of the classes, in the order of the logits.
        clip: The clip format as plain data: frames, stride, sizes, mean and std.
    """

    network: ClipClassifier
    class_names: list[str]
    clip: dict[str, Any]


def load_trained(path: str | Path, trust_code: bool = False) -> Trained:
    """Rebuilds a network from its file alone.

    Args:
        path: A checkpoint of ``videonl fit``, or converted weights with a classifier. It is read with
            ``weights_only=True``: no code in it runs.
        trust_code: Whether a network that the file gives as a dotted path may be built by any callable, and not by
            models of torchvision and pytorchvideo alone. Say so for your own files.

    Returns:
        The trained network with its classes and clip format. Classes whose names the file does not know are numbered.

    Raises:
        UserError: When the file is missing, is no checkpoint, was not written by videonl, or names code that is not
            trusted.
    """
    weights = read_weights(Path(path))
    if weights.network is not None and not trust_code:
        _require_known_code(path, weights.network["backbone"])
        _require_known_blocks(path, weights.network["blocks"] or [])
    network = weights.build()
    names = weights.class_names or [f"class {index}" for index in range(network.settings["num_classes"])]
    return Trained(network, names, weights.clip)


def read_weights(path: Path) -> Weights:
    """Reads weights and what belongs to them, from a checkpoint of ``videonl fit`` or a file of ``videonl convert``.

    Raises:
        UserError: As :func:`load_trained`.
    """
    content = _read(path)
    try:
        return _converted(content, path) if "videonl_weights" in content else _trained(content, path)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is neither a checkpoint of videonl fit nor weights of videonl convert: it does not say which "
            "network it holds; videonl convert takes checkpoints of other projects"
        ) from error


def _trained(content: dict[str, Any], path: Path) -> Weights:
    about, state = content["videonl"], content["state_dict"]
    if about["network"] is None:
        raise UserError(f"{path} holds a network that is not a videonl ClipClassifier; only those can be rebuilt")
    return Weights(
        state={key.removeprefix(NETWORK_PREFIX): state[key] for key in state if key.startswith(NETWORK_PREFIX)},
        source=str(path),
        network=dict(about["network"]),
        clip=dict(about["clip"]),
        class_names=list(about["class_names"]),
    )


def _converted(content: dict[str, Any], path: Path) -> Weights:
    about = dict(content["videonl_weights"])
    version = about.pop("format")
    if version != FORMAT:
        raise UserError(f"{path} is of format {version}, this videonl reads {FORMAT}; convert the original again")
    return Weights(state=dict(content["state_dict"]), **{**about, "source": str(path)})


def _require_known_code(path: str | Path, backbone: str) -> None:
    if "." in backbone and not is_of_library(backbone):
        raise UserError(
            f"{path} has its network built by {backbone}, and a checkpoint of unknown origin could name any code; if "
            "it is yours, say --trust_code"
        )


def _require_known_blocks(path: str | Path, insertions: list[dict[str, Any]]) -> None:
    for name in [insertion["block"] for insertion in insertions]:
        if "." in name or not BLOCKS.is_trusted(name):
            raise UserError(
                f"{path} has a block that is built by {name}, and a checkpoint of unknown origin could name any code; "
                "if it is yours, say --trust-code"
            )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; give the path of a .ckpt file that videonl fit wrote")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of files that are no checkpoints
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any bytes may break the unpickler in any way
        reason = _first_line(error)
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); was it copied completely?") from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint of videonl fit")
    return checkpoint


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
