"""The mathematics of the blocks: pure functions of tensors, torch only."""

from videonl.ops.concatenation import concatenation, concatenation_weights
from videonl.ops.criss_cross import criss_cross, criss_cross_hop, criss_cross_weights
from videonl.ops.global_context import attention_pooling, attention_pooling_weights, fuse
from videonl.ops.pairwise import dot_product, dot_product_weights, embedded_gaussian, embedded_gaussian_weights
from videonl.ops.pyramid import pyramid_matrix, pyramid_pool, pyramid_spread

__all__ = [
    "attention_pooling",
    "attention_pooling_weights",
    "concatenation",
    "concatenation_weights",
    "criss_cross",
    "criss_cross_hop",
    "criss_cross_weights",
    "dot_product",
    "dot_product_weights",
    "embedded_gaussian",
    "embedded_gaussian_weights",
    "fuse",
    "pyramid_matrix",
    "pyramid_pool",
    "pyramid_spread",
]
