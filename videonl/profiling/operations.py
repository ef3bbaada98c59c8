"""How many multiply-adds a computation takes."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
Shape = torch.Size


def _norm(per_number: int) -> Callable[..., int]:
    # PyTorch's counter has two operations for each multiply-add.
    return lambda x, *args, **kwargs: 2 * per_number * math.prod(x)


def _matrix_vector(matrix: Shape, vector: Shape, *args: Any, **kwargs: Any) -> int:
    return 2 * math.prod(matrix)


def _added_matrix_vector(x: Shape, matrix: Shape, vector: Shape, *args: Any, **kwargs: Any) -> int:
    return 2 * math.prod(matrix)


def _fused_attention(query: Shape, key: Shape, value: Shape, *args: Any, **kwargs: Any) -> int:
    pairs = math.prod(query[:-1]) * key[-2]  # (B, heads, N, D), (B, heads, M, D)
    return 2 * pairs * (query[-1] + value[-1])


# What PyTorch's counter leaves out, by the shapes of the arguments. Norms as fvcore counts them in published tables: 2
# for each number of a batch norm, which is that of inference, and 5 of the others.
LEFT_OUT: dict[Any, Callable[..., int]] = {
    aten.native_batch_norm: _norm(2),
    aten._native_batch_norm_legit: _norm(2),
    aten._native_batch_norm_legit_no_training: _norm(2),
    aten.cudnn_batch_norm: _norm(2),
    aten.native_layer_norm: _norm(5),
    aten.native_group_norm: _norm(5),
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,  # that of torch 2.6 does
}


def operation_counter() -> FlopCounterMode:
    """A context that counts two operations for each multiply-add of the forwards within it, on any device.

    Counted are convolutions, matrix products, fused attention and norms; elementwise work, pools, sorting and sums are
    not. Gradients computed within it count as well.
    """
    return FlopCounterMode(display=False, custom_mapping=LEFT_OUT)


def count_macs(work: Callable[[], object]) -> int:
    """Counts the multiply-adds of some work; see :func:`operation_counter`.

    >>> count_macs(lambda: torch.ones(2, 3, device="meta") @ torch.ones(3, 5, device="meta"))
    30
    """
    with operation_counter() as counter:
        work()
    return int(counter.get_total_flops()) // 2
