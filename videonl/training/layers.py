"""The layers of a network from its input to its head, for learning rates by depth and for freezing."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

NUM_LAYERS = 6  # of a ResNet: stem, res2 to res5, head
Path = tuple[str, ...]


class Layer(NamedTuple):
    """Parameters at one depth.

    Attributes:
        name: That of a stage, ``stem`` or ``head``; or the path of a module.
        parameters: With those of the blocks inserted there.
    """

    name: str
    parameters: list[nn.Parameter]


def layers(network: nn.Module) -> list[Layer]:
    """Splits a network's parameters by depth.

    Args:
        network: A network. With ``stages`` (paths within its member ``network``, by stage; every named backbone has
            them) the layers are the stem, the stages and the head, and what stands between two stages counts with the
            first. Without, they are its modules, of which the largest is opened until there are six.

    Returns:
        The layers in the order in which the network registers them, every parameter once.

    Examples:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 5)))
        >>> [layer.name for layer in layers(network)]
        ['0', '1.0', '1.2']
    """
    parameters = _by_path(network)
    units = _stages(network) or {path: ".".join(path) for path in _units(parameters)}
    owners = [next((name for unit, name in units.items() if path[: len(unit)] == unit), None) for path in parameters]
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in zip(_complete(owners), parameters.values(), strict=True):
        found.setdefault(name, []).append(parameter)
    return [Layer(name, members) for name, members in found.items()]


def inserted_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network that names them in a dictionary ``blocks``; else none."""
    blocks = getattr(network, "blocks", None)
    return list(blocks.values()) if isinstance(blocks, dict) else []


def backbone_parameters(network: nn.Module) -> list[nn.Parameter]:
    """All parameters but those of the last layer, the head, and of inserted blocks."""
    new = {id(parameter) for block in inserted_blocks(network) for parameter in block.parameters()}
    return [parameter for layer in layers(network)[:-1] for parameter in layer.parameters if id(parameter) not in new]


def _by_path(network: nn.Module) -> dict[Path, nn.Parameter]:
    """Parameters by the keys of the ``state_dict``, which the wrappers of inserted blocks do not change."""
    found: dict[Path, nn.Parameter] = {}
    seen: set[int] = set()
    for name, value in network.state_dict(keep_vars=True).items():
        if isinstance(value, nn.Parameter) and id(value) not in seen:
            seen.add(id(value))
            found[tuple(name.split("."))] = value
    return found


def _stages(network: nn.Module) -> dict[Path, str]:
    stages = getattr(network, "stages", None)
    if not isinstance(stages, Mapping):
        return {}
    return {("network", *path.split(".")): stage for stage, paths in stages.items() for path in paths}


def _units(parameters: Mapping[Path, nn.Parameter]) -> list[Path]:
    """Modules of about one depth each."""
    units: list[Path] = [()]
    while len(units) < NUM_LAYERS:
        children = {unit: _children(unit, parameters) for unit in units}
        openable = [unit for unit in units if children[unit]]
        if not openable:
            break
        largest = max(openable, key=lambda unit: _size(unit, parameters))
        place = units.index(largest)
        units[place : place + 1] = children[largest]
    return units


def _children(unit: Path, parameters: Mapping[Path, nn.Parameter]) -> list[Path]:
    depth = len(unit)
    within = [path for path in parameters if path[:depth] == unit and len(path) > depth + 1]  # not its own parameters
    return list(dict.fromkeys(path[: depth + 1] for path in within))


def _size(unit: Path, parameters: Mapping[Path, nn.Parameter]) -> int:
    return sum(parameter.numel() for path, parameter in parameters.items() if path[: len(unit)] == unit)


def _complete(owners: list[str | None]) -> list[str]:
    """Gives what belongs to no unit to the unit before it; before all of them is the stem, after them the head."""
    last = max((place for place, owner in enumerate(owners) if owner is not None), default=-1)
    complete, current = [], "stem"
    for place, owner in enumerate(owners):
        current = owner if owner is not None else (current if place < last else "head")
        complete.append(current)
    return complete
