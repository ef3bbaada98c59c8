"""Pairwise forms of the non-local operation, without the N x M tensor.

Source: Wang et al. 2018, "Non-local Neural Networks", equation 1, arXiv:1711.07971.
Shapes: B batch, N query positions, M key positions, Ci inner channels, Cg value channels.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def embedded_gaussian(theta: Tensor, phi: Tensor, g: Tensor, *, scale: float = 1.0) -> Tensor:
    """Aggregates values with softmax weights: ``y_i = sum_j softmax_j(scale * theta_i . phi_j) g_j``.

    Args:
        theta: Queries, (B, N, Ci).
        phi: Keys, (B, M, Ci).
        g: Values, (B, M, Cg).
        scale: Factor on the logits; the paper has none, so 1.

    Returns:
        The aggregated values, (B, N, Cg). Nothing of size N x M is kept: PyTorch's fused attention works in tiles.
    """
    # The fused kernels ask for a head axis (B, 1, N, Ci) and for channels innermost; without either, PyTorch silently
    # builds the N x M matrix.
    query, key, value = (part.unsqueeze(1).contiguous() for part in (theta, phi, g))
    return scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)


def embedded_gaussian_weights(theta: Tensor, phi: Tensor, *, scale: float = 1.0) -> Tensor:
    """Weights with which the given queries read the keys.

    Args:
        theta: The asked queries only, (B, Q, Ci).
        phi: Keys, (B, M, Ci).
        scale: Factor on the logits, as in :func:`embedded_gaussian`.

    Returns:
        Weights, (B, Q, M); every row sums to 1.
    """
    affinity = scale * torch.matmul(theta, phi.transpose(1, 2))
    return affinity.softmax(dim=-1)
