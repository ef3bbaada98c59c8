"""3D CNNs as named stages: the field's ResNets, Inceptions, and any other by dotted path."""

from videonl.backbones.building import BACKBONES, backbone_options, build_backbone, require_module
from videonl.backbones.contract import Backbone, Size
from videonl.backbones.dotted import is_of_library
from videonl.backbones.inflate import Inflated, inflate
from videonl.backbones.resnet3d import resnet3d

__all__ = [
    "BACKBONES",
    "Backbone",
    "Inflated",
    "Size",
    "backbone_options",
    "build_backbone",
    "inflate",
    "is_of_library",
    "require_module",
    "resnet3d",
]
