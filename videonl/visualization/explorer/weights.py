"""The weights of every query of a block, in the smallest form from which the page can show any of them well."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from videonl.blocks.contract import AttentionBlock
from videonl.blocks.factors import Factors, HopWeights, ProductWeights
from videonl.visualization.features import require_finite
from videonl.visualization.web.packing import Kind, pack

TOLERANCE = 0.01
"""How far a shown weight may be from the block's, as a share of its query's largest weight."""

_NUM_CHECKED = 128
_CHUNK_QUERIES = 256

Rows = Callable[[Tensor], Tensor]  # flat indices (Q,) -> weights, a row or a grid for each


@dataclass(frozen=True)
class PackedWeights:
    """The weights of every query as the page will have them.

    Attributes:
        spec: what the page reads, plain data.
        rows: what the page will compute from it.
        keys: the key grid.
        error: the largest difference from the block's own weights, over 128 queries evenly spaced, as a share of the
            query's largest weight.
        may_be_negative: whether one of these queries has a weight below 0.
    """

    spec: dict[str, Any]
    rows: Rows
    keys: tuple[int, ...] = ()
    error: float = 0.0
    may_be_negative: bool = False


def pack_weights(name: str, block: AttentionBlock, features: tuple[Tensor, ...]) -> PackedWeights:
    """Packs the weights of every query of a block.

    Of a table of queries by keys and the block's factors, in 16 or 32 bits, it takes the smallest whose weights are
    within ``TOLERANCE`` of the block's own.

    Args:
        name: the block's, for messages.
        block: the block.
        features: what it was given in a forward of one clip.

    Raises:
        UserError: its weights are not finite.
    """
    x, *low = features
    num_queries = x[0, 0].numel()

    def truth(queries: Tensor) -> Tensor:
        return block.attention(x, queries.to(x.device), *low)[0].float().cpu()

    factors = block.factors(x, *low)
    checked = torch.linspace(0, num_queries - 1, min(_NUM_CHECKED, num_queries)).round().long()
    weights = truth(checked)
    require_finite(name, weights)
    expected = weights.flatten(1)
    for candidate in _candidates(factors, truth, num_queries, expected.shape[1]):
        error = _error(candidate.rows(checked), expected)
        if error <= TOLERANCE:
            break
    keys = tuple(weights.shape[1:])
    return replace(candidate, keys=keys, error=error, may_be_negative=bool(expected.min() < 0))


def pack_map(values: Tensor) -> PackedWeights:
    """Packs one map (T, H, W) that serves every query."""
    grid = values.shape
    product = ProductWeights(torch.ones(grid.numel(), 1), values.reshape(1, -1), grid, grid)
    packed, everyone = _product(product, "int16"), torch.zeros(1, dtype=torch.int64)
    error = _error(packed.rows(everyone), values.reshape(1, -1))
    return replace(packed, keys=tuple(grid), error=error, may_be_negative=bool(values.min() < 0))


def _candidates(factors: Factors | None, truth: Rows, num_queries: int, num_keys: int) -> Iterator[PackedWeights]:
    """The forms, smallest first, each made when its turn comes. The table always comes within the tolerance."""
    # Rows of the factors cost less than rows of the block, which computes the features' projections every time.
    rows = truth if factors is None else lambda queries: factors.rows(queries).float().cpu()
    forms: list[tuple[int, Callable[[], PackedWeights]]] = [(num_queries * num_keys, lambda: _table(rows, num_queries))]
    if isinstance(factors, ProductWeights):
        product = _reduced(factors)
        numbers = product.left.numel() + product.right.numel()
        forms += [
            (numbers, lambda: _product(product, "int16", coarse=True)),  # deflates to a byte for each number at most
            (2 * numbers, lambda: _product(product, "int16")),
            (4 * numbers, lambda: _product(product, "float32")),
        ]
    elif isinstance(factors, HopWeights):
        numbers = sum(hop.numel() for hop in factors.hops)
        forms += [(2 * numbers, lambda: _hops(factors, "int16")), (4 * numbers, lambda: _hops(factors, "float32"))]
    for _, make in sorted(forms, key=lambda form: form[0]):
        yield make()


def _table(rows: Rows, num_queries: int) -> PackedWeights:
    chunks = torch.arange(num_queries).split(_CHUNK_QUERIES)
    table = pack(torch.cat([rows(chunk).flatten(1) for chunk in chunks]), "uint8")
    return PackedWeights({"form": "table", "table": table.spec}, lambda queries: table.values[queries])


def _product(product: ProductWeights, kind: Kind, coarse: bool = False) -> PackedWeights:
    left_steps, right_steps = _coarse_steps(product) if coarse else (None, None)
    # Rows are components, because each has a range of its own.
    left, right = pack(product.left.mT.contiguous(), kind, left_steps), pack(product.right, kind, right_steps)
    spec = {
        "form": "product",
        "left": left.spec,
        "right": right.spec,
        "activation": product.activation,
        "reach": product.reach,
        "groupFrames": 1 if product.reach == "space" else product.group_frames,
    }
    shown = replace(product, left=left.values.mT, right=right.values)
    return PackedWeights(spec, lambda queries: shown.rows(queries).flatten(1))


def _coarse_steps(product: ProductWeights) -> tuple[Tensor, Tensor]:
    """For each component the steps on either side that the other side's range makes needed.

    The rounding errors of all components together, which add up like their root, stay far below the tolerance.
    """
    left_range, right_range = product.left.abs().amax(dim=0), product.right.abs().amax(dim=1)
    error = _tolerance(product) / math.sqrt(2 * len(right_range))
    return 2 * error / right_range, 2 * error / left_range


def _hops(factors: HopWeights, kind: Kind) -> PackedWeights:
    hops = [pack(hop, kind) for hop in factors.hops]
    axes = [[axis - 2 for axis in axes] for axes in factors.axes]  # T, H, W are 0, 1, 2
    shown = replace(factors, hops=tuple(hop.values for hop in hops))
    spec = {"form": "hops", "hops": [hop.spec for hop in hops], "axes": axes}
    return PackedWeights(spec, lambda queries: shown.rows(queries).flatten(1))


def _reduced(product: ProductWeights) -> ProductWeights:
    """Drops what no weight depends on: components that add next to nothing, and the keys' mean under a softmax."""
    left, right = product.left.detach().double().cpu(), product.right.detach().double().cpu()
    if product.activation == "none":  # sparse bins stay sparse
        return replace(product, left=left.float(), right=right.float())
    if product.activation == "softmax":  # adding the same to every logit of a query changes none of its weights
        right = right - right.mean(dim=1, keepdim=True)
    # Decomposed without the product itself: Q R of each side, and the small matrix between them.
    (left_basis, left_mix), (right_basis, right_mix) = torch.linalg.qr(left), torch.linalg.qr(right.mT)
    u, strength, v = torch.linalg.svd(left_mix @ right_mix.mT, full_matrices=False)
    left, right = left_basis @ u * strength.sqrt(), (strength.sqrt()[:, None] * v) @ right_basis.mT
    reach = left.abs().amax(dim=0) * right.abs().amax(dim=1)  # the most that each component adds to any product
    rest = reach.flip(0).cumsum(0).flip(0)
    rank = max(int((rest > _tolerance(product)).sum()), 1)
    return replace(product, left=left[:, :rank].float(), right=right[:rank].float())


def _tolerance(product: ProductWeights) -> float:
    """How far a product may be off: in proportion for a softmax, else by a share of the largest that there is."""
    if product.activation == "softmax":
        return TOLERANCE / 4
    return TOLERANCE / 4 * float((product.left.abs().amax(dim=0) * product.right.abs().amax(dim=1)).max())


def _error(shown: Tensor, expected: Tensor) -> float:
    largest = expected.abs().amax(dim=1, keepdim=True).clamp(min=1e-30)
    return float(((shown - expected).abs() / largest).max())
