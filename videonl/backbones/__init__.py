"""3D CNNs as named stages: the field's ResNets, Inceptions, and any other by dotted path."""

from videonl.backbones.building import BACKBONES, backbone_options, build_backbone, register_backbone, require_module
from videonl.backbones.contract import Backbone, Size, input_channels
from videonl.backbones.head import Head, as_head, head_option
from videonl.backbones.inflate import Inflated, inflate, inflated_kernel
from videonl.backbones.resnet3d import resnet3d
from videonl.backbones.stem import Stem, as_stem, read_stem

__all__ = [
    "BACKBONES",
    "Backbone",
    "Head",
    "Inflated",
    "Size",
    "Stem",
    "as_head",
    "as_stem",
    "backbone_options",
    "build_backbone",
    "head_option",
    "inflate",
    "inflated_kernel",
    "input_channels",
    "read_stem",
    "register_backbone",
    "require_module",
    "resnet3d",
]
