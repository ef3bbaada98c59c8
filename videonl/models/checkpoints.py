"""Loads trained networks from checkpoints of ``videonl fit``, from converted weights, and from shared folders."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from videonl.errors import UserError
from videonl.models.classifier import ClipClassifier
from videonl.models.locating import is_in_shared, name_of, weights_file
from videonl.models.sharing import read_shared
from videonl.models.trust import require_harmless, require_sampling
from videonl.models.weights import FORMAT, Weights
from videonl.pickles import refusal_of_code
from videonl.terminal import printable

_TASKS = ("single_label", "multi_label")
NETWORK_PREFIX = "network.network."  # the LightningModule of a training run keeps the classifier, and that the network


@dataclass(frozen=True)
class Trained:
    """A trained network and what it needs to be used.

    Attributes:
        network: In eval mode, on the CPU.
        class_names: Names of the classes, in the order of the logits.
        known_clip: What the file says of the clip format, as plain data; converted weights may not say all.
        source: The file.
        task: What its labels are, by the names of :data:`videonl.tasks.TASKS`.
        threshold: Of several labels, the probability from which a class counts as predicted.
    """

    network: ClipClassifier
    class_names: list[str]
    known_clip: dict[str, Any]
    source: str
    task: str = "single_label"
    threshold: float | None = None

    @property
    def has_several_labels(self) -> bool:
        """Whether a video may have any number of classes, rather than one."""
        return self.task == "multi_label"

    @property
    def clip(self) -> dict[str, Any]:
        """The clip format as plain data: frames, stride, sizes, mean and std.

        Raises:
            UserError: The file does not record it. There is no default: with another clip format the network would
                silently be less accurate.
        """
        stride = "stride_frames" if self.known_clip.get("stride_seconds") is None else "stride_seconds"
        missing = [name for name in ("num_frames", stride, "mean", "std") if name not in self.known_clip]
        if not missing:
            return self.known_clip
        again = f"videonl convert {self.source} --from videonl --clip 32x2 --out NEW_FILE"
        if {"mean", "std"} & {*missing}:
            again = "convert the original again, with --clip 32x2"
        raise UserError(
            f"{self.source} does not record the clip format of its training ({', '.join(missing)}), and predictions "
            f"depend on it; set the frames and their stride, such as 32x2: {again}"
        )

    def named(self, class_names: Sequence[str]) -> "Trained":
        """The same network, whose classes have these names, in the order of the logits.

        Raises:
            UserError: It has another number of classes.
        """
        if len(class_names) != len(self.class_names):
            raise UserError(
                f"{self.source} has {len(self.class_names)} classes, and {len(class_names)} names were given"
            )
        return replace(self, class_names=[printable(name) for name in class_names])

    @property
    def are_classes_named(self) -> bool:
        """Whether the file has names of the classes, not only their number."""
        return self.class_names != _numbered(len(self.class_names))


def load_trained(path: str | Path, trust_code: bool = False) -> Trained:
    """Rebuilds a network from its file alone.

    Args:
        path: A checkpoint of ``videonl fit``, the folder of a run, converted weights with a classifier, a folder of
            ``videonl share``, or ``hf://user/name``. No code in it runs.
        trust_code: Whether the network may be built by any callable with any options, instead of as
            :func:`videonl.models.trust.require_harmless` allows it; only for files that you trust.

    Returns:
        The trained network with its classes and clip format. Classes without names in the file are numbered.

    Raises:
        UserError: When the file is missing, is no checkpoint, was not written by videonl, names code that is not
            trusted, or holds a network that reads no RGB frames.
    """
    weights = read_weights(path)
    return trained_of(weights, weights.source, trust_code)


def trained_of(weights: Weights, path: str | Path, trust_code: bool = False) -> Trained:
    """The network that some weights are of, as :func:`load_trained` returns and refuses it.

    Args:
        weights: Of a whole classifier.
        path: Where they come from.
        trust_code: As for :func:`load_trained`.
    """
    weights.require_frames()
    try:
        if weights.network is not None and not trust_code:
            require_harmless(path, weights.network)
        if not trust_code:
            require_sampling(path, weights.clip.get("sampling", "dense"))
        network = weights.build()
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not describe a network that can be built ({error!r})") from error
    num_classes = network.settings["num_classes"]
    names = weights.class_names or _numbered(num_classes)
    if len(names) != num_classes or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} does not name the {num_classes} classes of its network, but {names!r:.80}")
    if weights.task not in _TASKS:
        raise UserError(f"{path} is of the task {weights.task!r}, and known are {', '.join(_TASKS)}; update videonl")
    names = [printable(name) for name in names]
    return Trained(network, names, weights.clip, str(path), weights.task, weights.threshold)


def read_weights(source: str | Path) -> Weights:
    """Reads weights and their description, from any place that :func:`load_trained` takes.

    Raises:
        UserError: As :func:`load_trained`.
    """
    path = weights_file(source)
    if is_in_shared(path):
        return read_shared(path.parent, name_of(source))
    content = _read(path)
    try:
        return _converted(content, path) if "videonl_weights" in content else _trained(content, path)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is neither a checkpoint of videonl fit nor weights of videonl convert: it does not record "
            "its network; videonl convert reads checkpoints of other projects"
        ) from error


def _numbered(num_classes: int) -> list[str]:
    return [f"class {index}" for index in range(num_classes)]


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
        task=about.get("task", "single_label"),
        threshold=about.get("threshold"),
    )


def _converted(content: dict[str, Any], path: Path) -> Weights:
    about = dict(content["videonl_weights"])
    version = about.pop("format")
    if version != FORMAT:
        raise UserError(f"{path} has format {version}, but videonl reads {FORMAT}; convert the original again")
    if "licence" in about:  # as version 0.1 spelled it
        about["license"] = about.pop("licence")
    return Weights(state=dict(content["state_dict"]), **{**about, "source": str(path), "origin": about.get("source")})


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; give the path of a .ckpt file that videonl fit wrote")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of files that are no checkpoints
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any bytes may break the unpickler in any way
        damaged = f"{path} cannot be read as a checkpoint ({_first_sentence(error)}); was it copied completely?"
        raise UserError(refusal_of_code(path) or damaged) from error
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint of videonl fit")
    return checkpoint


def _first_sentence(error: Exception) -> str:
    """Only the first sentence: the next one suggests weights_only=False, which would run code in the file."""
    return next(iter(str(error).splitlines()), type(error).__name__).split(". ")[0]
