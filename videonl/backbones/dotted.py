"""Any other 3D CNN, by the dotted path of what builds it."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from videonl.backbones.contract import Backbone
from videonl.errors import UserError

CLASSES_ARGUMENTS = ("model_num_class", "num_classes", "num_class")


def from_callable(
    build: object, path: str, num_classes: int, /, *, num_classes_argument: str | None = None, **options: Any
) -> Backbone:
    """Builds a network with a callable of another package, or of a user's own.

    Args:
        build: A function that returns a module, or a class of modules.
        path: How the user names it, such as ``pytorchvideo.models.x3d.create_x3d``.
        num_classes: Size of the head.
        num_classes_argument: What the callable calls that; found in its signature when not given.
        **options: Its other arguments.

    Returns:
        The network, with no stages; or, where the callable builds a :class:`Backbone`, that.

    Raises:
        UserError: When it cannot be called, refuses its arguments, builds no module, or when the network ends in a
            softmax; the message says which.
    """
    if not callable(build):
        raise UserError(f"backbone {path} is a {type(build).__name__}, which cannot be called to build a network")
    arguments = {**options, num_classes_argument or _classes_argument(path, build): num_classes}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated")  # pytorchvideo's
            built = build(**arguments)
    except (TypeError, ValueError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise UserError(f"backbone {path}({given}): {error}") from error
    backbone = built if isinstance(built, Backbone) else Backbone(built, {})
    if not isinstance(backbone.network, nn.Module):
        raise UserError(f"backbone {path} builds a {type(built).__name__}, not a torch.nn.Module")
    _require_logits(path, backbone.network)
    return backbone


def _classes_argument(path: str, build: Callable[..., Any]) -> str:
    try:
        names = list(inspect.signature(build).parameters)
    except (TypeError, ValueError):  # of something written in C
        names = []
    for name in CLASSES_ARGUMENTS:
        if name in names:
            return name
    raise UserError(
        f"backbone {path} has no argument {' or '.join(CLASSES_ARGUMENTS)}: state the argument for the number of "
        f"classes, as backbone_options: {{num_classes_argument: NAME}}; it has: {', '.join(names) or 'none'}"
    )


def _require_logits(path: str, network: nn.Module) -> None:
    """Rejects a network whose head returns probabilities: training would apply a second softmax."""
    modules = list(network.modules())
    last = max((place for place, module in enumerate(modules) if [*module.parameters(recurse=False)]), default=0)
    if any(isinstance(module, nn.Softmax | nn.LogSoftmax) for module in modules[last:]):
        raise UserError(
            f"backbone {path} ends in a softmax, but training needs logits; switch it off with its own option, such as "
            "backbone_options: {head_activation: null} for pytorchvideo's"
        )
