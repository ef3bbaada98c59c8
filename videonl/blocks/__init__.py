"""Attention blocks: modules that own weights, thin over :mod:`videonl.ops`."""

from videonl.blocks.asymmetric import AsymmetricFusion, AsymmetricPyramid
from videonl.blocks.contract import AttentionBlock
from videonl.blocks.criss_cross import Axial, CrissCross
from videonl.blocks.global_context import GC, SE, SNL, GlobalContext
from videonl.blocks.nonlocal_block import NonLocal

BLOCKS: dict[str, type[AttentionBlock]] = {
    "nonlocal": NonLocal,
    "asymmetric_pyramid": AsymmetricPyramid,
    "asymmetric_fusion": AsymmetricFusion,
    "criss_cross": CrissCross,
    "axial": Axial,
    "global_context": GlobalContext,
    "snl": SNL,
    "gc": GC,
    "se": SE,
}
"""Blocks by the short name that configurations use."""

__all__ = [
    "BLOCKS",
    "GC",
    "SE",
    "SNL",
    "AsymmetricFusion",
    "AsymmetricPyramid",
    "AttentionBlock",
    "Axial",
    "CrissCross",
    "GlobalContext",
    "NonLocal",
]
