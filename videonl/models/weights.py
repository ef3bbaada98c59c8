"""Weights with the description that they need: their network, its clips, their source."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.files import whole_file
from videonl.models.classifier import ClipClassifier

FORMAT = 1
TASK = ("task", "threshold")


@dataclass(frozen=True)
class Weights:
    """Weights of a clip classifier, or of one attention block.

    Attributes:
        state: By key of the classifier's network, which are those of the plain backbone's public checkpoints, or of the
            block. Without those of the head if the file had none.
        source: The file or name they come from, and its layout.
        network: The classifier's settings, whose ``num_classes`` is None without a head; None for a single block.
        block: For a single block its short name and options, ``{"block": ..., "options": ...}``.
        clip: The known format of its training clips, by the names of :class:`videonl.data.transforms.ClipFormat`.
        class_names: Names of the classes, in the order of the logits, if they are known.
        reads: Its input if that is not RGB frames.
        license: Restrictions on their use, if any.
        origin: Of a file of weights, what it was converted from.
        task: What its labels are, by the names of :data:`videonl.tasks.TASKS`.
        threshold: Of several labels, the probability from which a class counts as predicted.
    """

    state: Mapping[str, Tensor]
    source: str
    network: dict[str, Any] | None = None
    block: dict[str, Any] | None = None
    clip: dict[str, Any] = field(default_factory=dict)
    class_names: list[str] | None = None
    reads: str | None = None
    license: str | None = None
    origin: str | None = None
    task: str = "single_label"
    threshold: float | None = None

    def save(self, path: Path) -> None:
        """Writes plain data and tensors, all or nothing."""
        about = {name: value for name, value in vars(self).items() if name not in ("state", "origin", *TASK)}
        about |= self.about_task()
        about["source"] = self.origin or self.source
        content = {"videonl_weights": {"format": FORMAT, **about}, "state_dict": dict(self.state)}
        # In memory first: where its file cannot grow, torch.save fails without saying why.
        written = io.BytesIO()
        torch.save(content, written)
        with whole_file(path) as file:
            file.write(written.getbuffer())

    def about_task(self) -> dict[str, Any]:
        """Task and threshold, as files hold them; nothing for one label, as files of version 0.1 have it."""
        return {} if self.task == "single_label" else {name: getattr(self, name) for name in TASK}

    def named(self, class_names: list[str]) -> "Weights":
        """The same weights, whose classes have these names, in the order of the logits.

        Raises:
            UserError: When there is no classifier, or it has another number of classes.
        """
        num_classes = self.network and self.network["num_classes"]
        if not num_classes:
            raise UserError(f"{self.source} has no classifier, so there are no classes to name")
        if num_classes != len(class_names):
            raise UserError(f"{self.source} has {num_classes} classes, but {len(class_names)} names were given")
        return replace(self, class_names=class_names)

    def require_frames(self) -> None:
        """Rejects weights of a network that reads something else than RGB frames.

        Raises:
            UserError: Saying what the network reads.
        """
        if self.reads is not None:
            raise UserError(
                f"{self.source} reads {self.reads}, but videonl reads videos as RGB frames; in Python, "
                "videonl.models.checkpoints.read_weights(Path(FILE)).build() returns its network"
            )

    def build(self) -> ClipClassifier:
        """The classifier with these weights, in eval mode.

        Raises:
            UserError: When they are of a single block or lack the head, or do not fit their own description.
        """
        if self.network is None:
            raise UserError(f"{self.source} holds one block, not a network; load it into a network with model.weights")
        if self.network["num_classes"] is None:
            raise UserError(f"{self.source} has no classifier: train one with model.weights")
        # Weights that are drawn and then replaced are not to change what the caller draws next.
        with torch.random.fork_rng(devices=[]):
            # How it ran in training says nothing about how it is to run now.
            classifier = ClipClassifier.from_settings({**self.network, "execution": {}})
        try:
            classifier.network.load_state_dict(self.state)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{self.source}: its weights do not fit the network that it names: {reason}") from error
        return classifier.eval()
