"""Any other 3D CNN, by the dotted path of what builds it."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from videonl.backbones.contract import Backbone
from videonl.errors import UserError
from videonl.registry import import_path

CLASSES_ARGUMENTS = ("model_num_class", "num_classes", "num_class")


def from_path(path: str, num_classes: int, /, *, num_classes_argument: str | None = None, **options: Any) -> Backbone:
    """Builds a network with a callable of another package.

    Args:
        path: Where the callable is, such as ``pytorchvideo.models.x3d.create_x3d``: a function that returns a module,
            or a class of modules. Importing it runs its package's code.
        num_classes: Size of the head.
        num_classes_argument: What the callable calls that; found in its signature when not given.
        **options: Its other arguments.

    Returns:
        The network, with no stages.

    Raises:
        UserError: When the callable cannot be imported, refuses its arguments, builds no module, or when the network
            ends in a softmax; the message says which.
    """
    build = resolve(path)
    arguments = {**options, num_classes_argument or _classes_argument(path, build): num_classes}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated")  # pytorchvideo's
            network = build(**arguments)
    except (TypeError, ValueError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise UserError(f"backbone {path}({given}): {error}") from error
    if not isinstance(network, nn.Module):
        raise UserError(f"backbone {path} builds a {type(network).__name__}, not a torch.nn.Module")
    _require_logits(path, network)
    return Backbone(network, {})


def resolve(path: str) -> Callable[..., Any]:
    """Imports what a dotted path names.

    Raises:
        UserError: Naming the part that does not exist.
    """
    found = import_path(path, "backbone")
    if not callable(found):
        raise UserError(f"backbone {path} is a {type(found).__name__}, which cannot be called to build a network")
    built: Callable[..., Any] = found
    return built


def _classes_argument(path: str, build: Callable[..., Any]) -> str:
    try:
        names = list(inspect.signature(build).parameters)
    except (TypeError, ValueError):  # of something written in C
        names = []
    for name in CLASSES_ARGUMENTS:
        if name in names:
            return name
    raise UserError(
        f"backbone {path} has no argument {' or '.join(CLASSES_ARGUMENTS)}: say which of its arguments is the number "
        f"classes, as backbone_options: {{num_classes_argument: NAME}}; it has: {', '.join(names) or 'none'}"
    )


def _require_logits(path: str, network: nn.Module) -> None:
    """Refuses a network whose head turns logits into probabilities: training would take their softmax again."""
    modules = list(network.modules())
    last = max((place for place, module in enumerate(modules) if [*module.parameters(recurse=False)]), default=0)
    if any(isinstance(module, nn.Softmax | nn.LogSoftmax) for module in modules[last:]):
        raise UserError(
            f"backbone {path} ends in a softmax, and training needs logits; switch it off by its own option, such as "
            "backbone_options: {head_activation: null} for pytorchvideo's"
        )
