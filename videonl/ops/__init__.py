"""The mathematics of the blocks: pure functions of tensors, torch only."""

from videonl.ops.pairwise import embedded_gaussian, embedded_gaussian_weights

__all__ = ["embedded_gaussian", "embedded_gaussian_weights"]
