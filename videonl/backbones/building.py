"""Backbones by name or by dotted path, from plain data."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from videonl.backbones.contract import Backbone
from videonl.backbones.dotted import CLASSES_ARGUMENTS, from_callable
from videonl.backbones.inception_i3d import i3d_inception
from videonl.backbones.pytorchvideo_video import PYTORCHVIDEO
from videonl.backbones.residual_3d import RESIDUALS_3D
from videonl.backbones.resnet3d import RESNETS
from videonl.backbones.slowfast import SLOWFASTS
from videonl.backbones.torchvision_video import RESNETS_18, resnet18, s3d
from videonl.errors import MOST_WIDTH, UserError, require_within
from videonl.registry import Registry

BACKBONES: Registry[Callable[..., Any]] = Registry(
    "backbone",
    {
        **RESNETS,
        **SLOWFASTS,
        **PYTORCHVIDEO,
        **RESIDUALS_3D,
        "i3d_inception": i3d_inception,
        **{name: partial(resnet18, name) for name in RESNETS_18},
        "s3d": s3d,
    },
)
"""Builders by the name that configurations use; each is called as ``build(num_classes, **options)``.

Those of videonl build a :class:`Backbone`; those that users register may build any network of clips.
"""
register_backbone = BACKBONES.register


def build_backbone(
    name: str,
    num_classes: int,
    options: Mapping[str, Any] | None = None,
    stages: Mapping[str, Sequence[str]] | None = None,
) -> Backbone:
    """Builds a backbone.

    Args:
        name: A name of ``BACKBONES``, or the dotted path of a callable that builds a 3D CNN.
        num_classes: Size of the head.
        options: Keyword arguments of the builder; see :func:`from_callable` for those of a dotted path.
        stages: Module paths by stage name. They are the stages of a network by dotted path, and come beside those that
            a named backbone has.

    Returns:
        The backbone.

    Raises:
        UserError: For an unknown name, option or module path; the message lists what exists.
    """
    options = options or {}
    if BACKBONES.is_trusted(name):
        require_options(f"backbone {name!r}", options, backbone_options(name))
        require_within(1, MOST_WIDTH, width=options.get("width"))
        require_within(0, 1, dropout=options.get("dropout"))
        built = BACKBONES[name](num_classes, **options)
    elif BACKBONES.is_own(name) or "." in name:
        built = from_callable(BACKBONES.find(name), name, num_classes, **options)
    else:
        raise UserError(
            f"unknown backbone {name!r}; the backbones are: {', '.join(sorted(BACKBONES))}, or the dotted path of a "
            "callable such as pytorchvideo.models.x3d.create_x3d"
        )
    return _with_stages(built, stages or {})


def backbone_options(name: str) -> dict[str, Any]:
    """The options of a named backbone and their defaults.

    >>> backbone_options("i3d_inception")
    {'dropout': 0.5, 'in_channels': 3}
    """
    parameters = inspect.signature(BACKBONES[name]).parameters.values()
    named = (parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD)
    return {parameter.name: parameter.default for parameter in named if parameter.name not in CLASSES_ARGUMENTS}


def require_options(owner: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Rejects options that the owner does not have.

    Raises:
        UserError: Listing those that it has.
    """
    for option in options:
        if option not in known:
            raise UserError(f"unknown option {option!r} of {owner}; its options are: {', '.join(known) or 'none'}")


def _with_stages(backbone: Backbone, stages: Mapping[str, Sequence[str]]) -> Backbone:
    for stage, paths in stages.items():
        if isinstance(paths, str) or not paths:
            raise UserError(f"stage {stage!r} must be a list of module paths, got {paths!r}")
        for path in paths:
            require_module(backbone.network, path, f"stage {stage!r}")
    return replace(backbone, stages={**backbone.stages, **{stage: tuple(paths) for stage, paths in stages.items()}})


def require_module(network: nn.Module, path: str, asker: str) -> None:
    """Rejects a module path that a network does not have.

    Raises:
        UserError: Naming the modules at the place where the path leaves the network.
    """
    at, module = "", network
    for name in path.split("."):
        children = dict(module.named_children())
        if name not in children:
            held = f"{at or 'the network'} holds: {', '.join(children) or 'no modules'}"
            raise UserError(f"{asker} names the module {path!r}, which the network does not have; {held}")
        at, module = f"{at}.{name}".lstrip("."), children[name]
