"""What an untrusted file may say about a network: the name of a known builder, and plain data.

A network by dotted path is a call of any function with any arguments. For one's own configuration that is the point of
it; a checkpoint from elsewhere could call whatever downloads and unpickles a second file. So a file that is not trusted
names builders of a list, and none of their options that load.
"""

import re
from collections.abc import Mapping
from typing import Any

from videonl.blocks import BLOCKS
from videonl.errors import UserError

_OF_MODULE = {
    "torchvision.models.video": ("mc3_18", "mvit_v1_b", "mvit_v2_s", "r2plus1d_18", "r3d_18", "s3d"),
    "torchvision.models.video.mvit": ("mvit_v1_b", "mvit_v2_s"),
    "torchvision.models.video.resnet": ("mc3_18", "r2plus1d_18", "r3d_18"),
    "torchvision.models.video.s3d": ("s3d",),
    "torchvision.models.video.swin_transformer": ("swin3d_b", "swin3d_s", "swin3d_t"),
    "pytorchvideo.models": ("create_csn", "create_multiscale_vision_transformers", "create_resnet", "create_slowfast"),
    "pytorchvideo.models.csn": ("create_csn",),
    "pytorchvideo.models.r2plus1d": ("create_r2plus1d",),
    "pytorchvideo.models.resnet": ("create_resnet",),
    "pytorchvideo.models.slowfast": ("create_slowfast",),
    "pytorchvideo.models.vision_transformers": ("create_multiscale_vision_transformers",),
    "pytorchvideo.models.x3d": ("create_x3d",),
}
_OF_MODULE["torchvision.models.video"] += _OF_MODULE["torchvision.models.video.swin_transformer"]
BUILDERS = frozenset(f"{module}.{name}" for module, names in _OF_MODULE.items() for name in names)
"""Dotted paths of functions that build a video network, and do nothing else, when no weights are asked for."""

LOADS = re.compile(r"(.*_)?(weights?|pretrained|checkpoints?|ckpt|paths?|url|uri|file|filename|dir|root|hub)(_.*)?")
"""Names of options that make a builder load something; ``droppath_rate`` does not match."""

_ANY_CODE = "a file of unknown origin could name any code. If you trust this one, add --trust-code"
_SCALARS = (str, int, float, bool, type(None))


def require_harmless(path: object, settings: Mapping[str, Any]) -> None:
    """Refuses settings of a network from an untrusted file that could do more than build a network.

    Args:
        path: The file, for messages.
        settings: Those of a :class:`videonl.models.ClipClassifier`, as the file has them.

    Raises:
        UserError: They hold something other than plain data, name another builder than videonl's own and those of
            ``BUILDERS``, or give it an option that loads something.
    """
    if (odd := odd_value(settings)) is not None:
        raise UserError(
            f"{path}: the settings of its network hold a {odd}, which is not plain data; "
            "videonl did not write this file"
        )
    backbone, options = settings["backbone"], settings.get("backbone_options") or {}
    if not isinstance(backbone, str) or not isinstance(options, dict):
        raise UserError(f"{path}: its network has the backbone {backbone!r} with the options {options!r}")
    require_builder(path, backbone, options)
    for insertion in settings.get("blocks") or []:
        require_block(path, str(insertion["block"]))


def is_harmless(settings: Mapping[str, Any], sampling: object) -> bool:
    """Whether a network, and how its clips are sampled, need no trust."""
    try:
        require_harmless("", settings)
        require_sampling("", sampling)
    except UserError:
        return False
    return True


def require_sampling(path: object, name: object) -> None:
    """Refuses a way of sampling clips that is not videonl's own; as :func:`require_harmless`."""
    if not isinstance(name, str) or "." in name:  # it is one of ours, or there is none of that name
        raise UserError(f"{path} samples its clips with {name}; {_ANY_CODE}")


def require_block(path: object, name: str) -> None:
    """Refuses a block that is not videonl's own; as :func:`require_harmless`."""
    if not BLOCKS.is_trusted(name):
        raise UserError(f"{path} builds a block with {name}; {_ANY_CODE}")


def require_builder(path: object, backbone: str, options: Mapping[str, Any]) -> None:
    """Refuses a backbone that no known builder makes, or that loads something; as :func:`require_harmless`."""
    if "." not in backbone:  # it is one of ours, or there is none of that name
        return
    if backbone not in BUILDERS:
        raise UserError(
            f"{path} builds its network with {backbone}; {_ANY_CODE}. Without it, a file may name builders of "
            "torchvision.models.video and pytorchvideo.models (create_resnet, create_x3d, ...)"
        )
    if (loading := loading_option(options)) is not None:
        raise UserError(f"{path} calls {backbone} with {loading}, which loads another file; {_ANY_CODE}")


def loading_option(options: Mapping[str, Any]) -> str | None:
    """The first option that has a builder load something, as ``NAME=VALUE``; None where there is none.

    >>> loading_option({"weights": None, "num_classes_argument": "pretrained"})
    "num_classes_argument='pretrained'"
    """
    for name, value in options.items():
        asks = bool(value) and LOADS.fullmatch(name)
        if asks or (name == "num_classes_argument" and LOADS.fullmatch(str(value))):
            return f"{name}={value!r}"
    return None


def odd_value(value: object) -> str | None:
    """The type of the first thing in a value that JSON could not hold; None for plain data.

    >>> odd_value({"stride": [1, (2, 2)], "norm": None}), odd_value([{"norm": len}])
    (None, 'builtin_function_or_method')
    """
    if type(value) in _SCALARS:
        return None
    if type(value) is dict:
        keys = next((type(key).__name__ for key in value if type(key) is not str), None)
        return keys or odd_value(list(value.values()))
    if type(value) in (list, tuple):
        return next(filter(None, map(odd_value, value)), None)  # type: ignore[call-overload]  # of a sequence of anything
    return type(value).__name__
