"""Attention blocks: modules that own weights, thin over :mod:`videonl.ops`."""

from videonl.blocks.asymmetric import AsymmetricFusion, AsymmetricPyramid
from videonl.blocks.contract import BLOCKS, AttentionBlock, Gain, register_block
from videonl.blocks.criss_cross import Axial, CrissCross
from videonl.blocks.factors import Factors, HopWeights, ProductWeights
from videonl.blocks.global_context import GC, SE, SNL, GlobalContext
from videonl.blocks.nonlocal_block import NonLocal

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
    "Factors",
    "Gain",
    "GlobalContext",
    "HopWeights",
    "NonLocal",
    "ProductWeights",
    "register_block",
]
