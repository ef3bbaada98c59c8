"""The concatenation form of the non-local operation, by sorting instead of an N x M tensor.

Source: Wang et al. 2018, "Non-local Neural Networks", equations 1 and 5, arXiv:1711.07971.
Shapes: B batch, N query positions, Q asked queries, M key positions, Cg value channels.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from videonl.ops.pairwise import mean_over_reachable


def concatenation(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """Aggregates values with rectified weights: ``y_i = 1/M sum_j ReLU(a_i + b_j) g_j``.

    A query reads the keys with ``b_j > -a_i``, so with keys sorted by b it reads the first k_i of them, and
    ``y_i = 1/M (a_i sum_{j < k_i} g_j + sum_{j < k_i} b_j g_j)``: two prefix sums, read at k_i. That takes
    O((N + M) log M + (N + M) Cg) in time and O((N + M) Cg) in memory, backward as well: every step is an ordinary
    differentiable one, and prefix sums differentiate to suffix sums.

    Args:
        a: What a query contributes, ``w_theta . theta_i``, (B, N).
        b: What a key contributes, ``w_phi . phi_j``, (B, M).
        g: Values, (B, M, Cg).

    Returns:
        The aggregated values, (B, N, Cg), in the dtype of g.
    """
    # Half precision would lose the small terms of a long sum. In float32 the error is 1e-7 of the largest output at
    # 6,272 keys, less than that of the N x M product: on CPUs, PyTorch adds up in float64 and rounds what it puts out.
    dtype = torch.promote_types(g.dtype, torch.float32)
    # (B, Cg, M), positions innermost: sums and look-ups stay within short rows. Divided while it is M, not N, wide.
    values = g.mT.to(dtype) / g.shape[1]
    # Only a + b matters. Without the center, two large terms of opposite sign would cancel digit by digit.
    center = b.to(dtype).mean(dim=1, keepdim=True).detach()
    a, b = a.to(dtype) + center, b.to(dtype) - center

    b, order = b.sort(dim=1, descending=True)
    values = values.gather(2, order.unsqueeze(1).expand_as(values))
    num_read = torch.searchsorted(-b.detach(), a.detach().contiguous())  # k_i: keys with -b_j < a_i, (B, N)
    num_read = num_read.unsqueeze(1).expand(-1, values.shape[1], -1)
    slope = _first_sums(values).gather(2, num_read)  # (B, Cg, N)
    offset = _first_sums(values * b.unsqueeze(1)).gather(2, num_read)
    return torch.addcmul(offset, a.unsqueeze(1), slope).to(g.dtype).mT


def concatenation_weights(a: Tensor, b: Tensor, *, reachable: Tensor | None = None) -> Tensor:
    """Weights with which the given queries read the keys: ``ReLU(a_i + b_j) / M``.

    Args:
        a: What the asked queries contribute, (B, Q).
        b: What the keys contribute, (B, M).
        reachable: Which keys a query may read, (Q, M) bool, at least one each; all of them when not given.

    Returns:
        Weights, (B, Q, M). None is negative, but their sum is any number; keys out of reach have 0, and M counts those
        in reach.
    """
    dtype = torch.promote_types(a.dtype, torch.float32)
    affinity = torch.relu(a.to(dtype).unsqueeze(2) + b.to(dtype).unsqueeze(1))
    return mean_over_reachable(affinity, reachable).to(a.dtype)


def _first_sums(x: Tensor) -> Tensor:
    """Sums of the first k columns for k = 0..M: (B, Cg, M) -> (B, Cg, M + 1)."""
    return pad(x.cumsum(dim=2), (1, 0))
