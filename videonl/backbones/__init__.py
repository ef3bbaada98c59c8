"""3D CNNs as a stem and named stages res2 to res5."""

from collections.abc import Callable

from videonl.backbones.contract import Backbone
from videonl.backbones.resnet3d import RESNETS, resnet3d
from videonl.backbones.stem import Stem, read_stem, set_stem

BACKBONES: dict[str, Callable[..., Backbone]] = {**RESNETS}
"""Builders by the name that configurations use; each is called as ``build(num_classes, **options)``."""

__all__ = ["BACKBONES", "Backbone", "Stem", "read_stem", "resnet3d", "set_stem"]
