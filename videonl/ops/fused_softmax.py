"""Softmax attention in memory linear in the number of positions, by PyTorch's fused kernels wherever they are fast.

On CPUs a small matrix of weights is written out, which is faster; it is bounded, so memory stays linear.
Shapes: B batch, N query positions, M key positions, Ci width of queries and keys, Cg width of values.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

# On CPUs, the weights of a clip up to which their matrix is written out: 16 MiB in float32. Up to there the matrix is
# faster, and takes less than the features around it (docs/benchmarks.md, "Small sizes").
WRITTEN_OUT_NUMEL = 2**22
TILE_NUMEL = 2**20  # weights at a time, 4 MiB in float32; twice or half of it makes little difference


def fused_softmax(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """``softmax(scale * query key^T) value``; the rows of a large softmax are never all there at once.

    Args:
        query: (B, N, Ci).
        key: (B, M, Ci).
        value: (B, M, Cg).
        scale: Factor on the logits.

    Returns:
        (B, N, Cg).
    """
    on_cpu = query.device.type == "cpu"
    exact = all(part.dtype in (torch.float32, torch.float64) for part in (query, key, value))
    if not on_cpu or not exact or torch.is_autocast_enabled("cpu"):
        return _fused_kernel(query, key, value, scale)
    # The batch does not count, so that clips round alike in batches of any size, and exported graphs take any.
    if query.shape[1] * key.shape[1] <= WRITTEN_OUT_NUMEL:
        scaled = query if scale == 1 else scale * query
        return torch.matmul(torch.matmul(scaled, key.mT).softmax(dim=2), value)
    if torch.compiler.is_compiling():  # dynamo cannot trace an autograd.Function within a network
        return _fused_kernel(query, key, value, scale)
    y: Tensor = _TiledBackward.apply(query, key, value, scale)
    return y


def _fused_kernel(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    # Kernels ask for equal widths, and zeros change neither a logit nor a value; cutting wide values up would repeat
    # the logits instead.
    width = max(query.shape[2], value.shape[2])
    if query.device.type != "cpu":
        width = -(-width // 8) * 8  # GPU kernels read eight numbers at a time
    padded = [pad(x, (0, width - x.shape[2])) if x.shape[2] < width else x for x in (query, key, value)]
    # They also ask for a head axis (B, 1, N, Ci) and for channels innermost; without any of these, PyTorch silently
    # builds the N x M matrix.
    query, key, padded_value = (x.unsqueeze(1).contiguous() for x in padded)
    return scaled_dot_product_attention(query, key, padded_value, scale=scale).squeeze(1)[..., : value.shape[2]]


class _TiledBackward(torch.autograd.Function):
    """The fused kernel forward, and backward a tile of queries at a time.

    PyTorch's own backward on CPUs runs one thread per clip. At N = M = 6272, width 256 and one clip, forward and
    backward by one thread take 1.33 s with it and 1.4 s with tiles, whose matrix products use all threads.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        y = _fused_kernel(query, key, value, scale)
        ctx.save_for_backward(query, key, value, y)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (grad_y,) = grad_outputs
        query, key, value, y = ctx.saved_tensors
        grad_query, grad_key, grad_value = (torch.zeros_like(part) for part in (query, key, value))
        rows = _rows_per_tile(query, key)
        tiles = zip(*(part.split(rows, 1) for part in (query, grad_query, grad_y, y)), strict=True)
        for q, dq, dy, y_rows in tiles:
            weights = torch.matmul(ctx.scale * q, key.mT).softmax(dim=2)
            grad_value.baddbmm_(weights.mT, dy)
            # A softmax subtracts from the gradient its weighted mean, sum_j p_ij (v_j . dy_i) = y_i . dy_i.
            mean = (dy * y_rows).sum(dim=2, keepdim=True)
            grad_affinity = torch.matmul(dy, value.mT).sub_(mean).mul_(weights)
            dq.baddbmm_(grad_affinity, key, alpha=ctx.scale)
            grad_key.baddbmm_(grad_affinity.mT, q, alpha=ctx.scale)
            del weights, grad_affinity  # before the next ones are there
        return grad_query, grad_key, grad_value, None


def _rows_per_tile(query: Tensor, key: Tensor) -> int:
    # No tile is larger than the queries themselves.
    batch, num_queries, width = query.shape
    num_keys = key.shape[1]
    return max(1, min(TILE_NUMEL // (batch * num_keys), num_queries * width // num_keys))
