"""Pairwise forms of the non-local operation, without a large N x M tensor.

Source: Wang et al. 2018, "Non-local Neural Networks", equation 1, arXiv:1711.07971. The concatenation form has its own
file, :mod:`videonl.ops.concatenation`.
Shapes: B batch, N query positions, Q asked queries, M key positions, Ci inner channels, Cg value channels.
"""

import torch
from torch import Tensor

from videonl.ops.fused_softmax import fused_softmax


def embedded_gaussian(theta: Tensor, phi: Tensor, g: Tensor, *, scale: float = 1.0) -> Tensor:
    """Aggregates values with softmax weights: ``y_i = sum_j softmax_j(scale * theta_i . phi_j) g_j``.

    With features in place of theta and phi it is the Gaussian form.

    Args:
        theta: Queries, (B, N, Ci).
        phi: Keys, (B, M, Ci).
        g: Values, (B, M, Cg).
        scale: Factor on the logits; the paper has none, so 1.

    Returns:
        The aggregated values, (B, N, Cg). No large N x M matrix is built: PyTorch's fused
        attention works in tiles.
    """
    return fused_softmax(theta, phi, g, scale)


def embedded_gaussian_weights(
    theta: Tensor, phi: Tensor, *, scale: float = 1.0, reachable: Tensor | None = None
) -> Tensor:
    """Weights with which the given queries read the keys.

    Args:
        theta: The asked queries only, (B, Q, Ci).
        phi: Keys, (B, M, Ci).
        scale: Factor on the logits, as in :func:`embedded_gaussian`.
        reachable: Which keys a query may read, (Q, M) bool, at least one each; all of them when not given.

    Returns:
        Weights, (B, Q, M); every row sums to 1, and keys out of reach have 0.
    """
    affinity = scale * _affinity(theta, phi)
    if reachable is not None:
        affinity = affinity.masked_fill(~reachable, -torch.inf)
    return affinity.softmax(dim=-1).to(theta.dtype)


def dot_product(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """Aggregates values with linear weights: ``y_i = 1/M sum_j (theta_i . phi_j) g_j``.

    Args:
        theta: Queries, (B, N, Ci).
        phi: Keys, (B, M, Ci).
        g: Values, (B, M, Cg).

    Returns:
        The aggregated values, (B, N, Cg).
    """
    (num_queries, dim_inner), (num_keys, dim_value) = theta.shape[1:], g.shape[1:]
    keys_first = (num_queries + num_keys) * dim_inner * dim_value
    queries_first = num_queries * num_keys * (dim_inner + dim_value)
    if keys_first <= queries_first:
        context = _mean_product(phi.mT, g, num_keys)  # (B, Ci, Cg)
        # The transposed product leaves y with positions innermost, as the next convolution wants them.
        return torch.matmul(context.mT, theta.mT).mT
    # Here N x M is smaller than the features: fewer positions than channels.
    return torch.matmul(_mean_product(theta, phi.mT, num_keys), g)


def dot_product_weights(theta: Tensor, phi: Tensor, *, reachable: Tensor | None = None) -> Tensor:
    """Weights with which the given queries read the keys: ``theta_i . phi_j / M``.

    Args:
        theta: The asked queries only, (B, Q, Ci).
        phi: Keys, (B, M, Ci).
        reachable: Which keys a query may read, (Q, M) bool, at least one each; all of them when not given.

    Returns:
        Weights, (B, Q, M). They may be negative and their sum is any number; keys out of reach have 0, and M counts
        those in reach.
    """
    return mean_over_reachable(_affinity(theta, phi), reachable).to(theta.dtype)


def mean_over_reachable(affinity: Tensor, reachable: Tensor | None) -> Tensor:
    """Divides affinities (B, Q, M) by the number of keys in reach, and sets those of the others to 0."""
    if reachable is None:
        return affinity / affinity.shape[-1]
    return affinity.masked_fill(~reachable, 0) / reachable.sum(dim=-1, keepdim=True)


def _mean_product(left: Tensor, right: Tensor, count: int) -> Tensor:
    # The division happens within the product, before rounding: a sum over thousands of keys overflows float16.
    zero = torch.zeros((), dtype=left.dtype, device=left.device)
    return torch.baddbmm(zero, left, right, beta=0, alpha=1 / count)


def _affinity(theta: Tensor, phi: Tensor) -> Tensor:
    # In float32 at least: logits in the tens of thousands overflow float16. Few queries are asked, so it costs little.
    dtype = torch.promote_types(theta.dtype, torch.float32)
    with torch.autocast(theta.device.type, enabled=False):
        return torch.matmul(theta.to(dtype), phi.to(dtype).mT)
