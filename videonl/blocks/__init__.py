"""Attention blocks: modules that own weights, thin over :mod:`videonl.ops`."""

from videonl.blocks.contract import AttentionBlock
from videonl.blocks.nonlocal_block import NonLocal

BLOCKS: dict[str, type[AttentionBlock]] = {"nonlocal": NonLocal}
"""Blocks by the short name that configurations use."""

__all__ = ["BLOCKS", "AttentionBlock", "NonLocal"]
