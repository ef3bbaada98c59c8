"""Names for the modules of a backbone that a block may follow."""

from typing import NamedTuple

from videonl.backbones import Backbone, require_module
from videonl.errors import UserError


class Place(NamedTuple):
    """A module that a block may follow.

    Attributes:
        name: ``res4.3`` for a residual of a stage, else the module's path.
        path: Of the module within the network.
    """

    name: str
    path: str


def residual(backbone: Backbone, stage: str, index: int) -> Place:
    """Finds one residual of a stage.

    Raises:
        UserError: When there is none; the message lists what there is.
    """
    if stage not in backbone.stages:
        raise UserError(
            f"unknown stage {stage!r} for a block; this backbone has: {', '.join(backbone.stages) or 'none'}"
        )
    paths = backbone.stages[stage]
    if not 0 <= index < len(paths):
        raise UserError(f"residual {index} of {stage} does not exist; {stage} has residuals 0 to {len(paths) - 1}")
    return Place(f"{stage}.{index}", paths[index])


def find_place(backbone: Backbone, name: str, asker: str = "the placement of a block") -> Place:
    """Finds the module that a name means.

    Args:
        backbone: The network and its stages.
        name: ``res4`` for the last residual of a stage, ``res4.3`` for one of them, or a module path.
        asker: What needs it, for the message.

    Raises:
        UserError: When there is none; the message lists what there is.
    """
    stage, dot, index = name.partition(".")
    if stage in backbone.stages and not dot:
        return residual(backbone, stage, len(backbone.stages[stage]) - 1)
    if stage in backbone.stages and index.isdecimal():
        return residual(backbone, stage, int(index))
    try:
        require_module(backbone.network, name, asker)
    except UserError as error:
        raise UserError(
            f"{name!r} is neither a stage ({', '.join(backbone.stages) or 'this backbone has none'}), nor one residual "
            f"of a stage such as res4.3, nor the path of a module: {error}"
        ) from error
    # A residual has one name, however it was found.
    names = {path: f"{stage}.{index}" for stage, paths in backbone.stages.items() for index, path in enumerate(paths)}
    return Place(names.get(name, name), name)
