"""Which classes and which layer somebody means who asks for evidence."""

from collections.abc import Sequence
from difflib import get_close_matches

from torch import Tensor

from videonl.backbones import Backbone
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.places import Place, find_place
from videonl.visualization import last_features

AUTO = "auto"


def find_classes(asked: Sequence[str], names: Sequence[str], best: int) -> dict[int, str]:
    """Classes by name, by index, or as ``auto`` for the predicted one.

    >>> find_classes(["push", "0", "auto"], ["hug", "push", "kick"], best=2)
    {1: 'push', 0: 'hug', 2: 'kick'}

    Raises:
        UserError: There is no such class.
    """
    found: dict[int, str] = {}
    for text in asked:
        if text == AUTO:
            index = best
        elif text in names:
            index = names.index(text)
        elif text.isdecimal() and int(text) < len(names):
            index = int(text)
        else:
            near = get_close_matches(text, names, n=3) or names[:3]
            raise UserError(
                f"unknown class {text!r}: the network has {len(names)}, such as {', '.join(near)}; give a name, or an "
                f"index from 0 to {len(names) - 1}"
            )
        found[index] = names[index]
    return found


def find_layer(network: ClipClassifier, name: str | None, clip: Tensor) -> Place:
    """The layer whose output evidence weighs.

    Args:
        network: The network.
        name: A stage, a residual or a module path; by default the last stage, or the last features on a grid where
            there are no stages.
        clip: (1, C, T, H, W), normalized.

    Raises:
        UserError: There is no such layer.
    """
    if name is None and not network.stages:
        path = last_features(network.network, clip)
        return Place(path, path)
    backbone = Backbone(network.network, {stage: tuple(paths) for stage, paths in network.stages.items()})
    return find_place(backbone, name or list(network.stages)[-1], "--evidence_layer")
