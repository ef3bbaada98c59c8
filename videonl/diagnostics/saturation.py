"""Saturation: a softmax whose affinities are so large that it attends to one key and hardly learns any more."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from videonl.blocks.factors import ProductWeights
from videonl.diagnostics.measures import distribution, entropy
from videonl.visualization.features import read_features

# With an entropy of log 1.1 the largest weight w is 0.98 at least. The gradient of the affinities is at most
# 2 w (1 - w) = 0.04 of the spread of what the weights' gradient is, a twelfth of the 0.5 that a softmax can pass.
FEW = 1.1
# Numbers of bfloat16 are 0.5 apart from 64 to 128: rounding moves a weight by up to e^0.25. In float32 sums in another
# order differ by 1e-6 of an affinity: by 1e-4 in the weights, which is what videonl export allows.
LARGE = 100.0
REMEDY = (
    "train with model.optimization.affinity_factor: 0.1, a lower learning rate for theta and phi (scale: true alone "
    "only delays it, and pairwise: gaussian has neither), or with pairwise: dot_product, which has no softmax"
)


class Softmax(NamedTuple):
    """The attention of a block's softmax on some clips.

    Attributes:
        entropy: Over log M, mean over queries and clips: 1 for uniform attention, 0 for one key.
        num_read: The effective number of keys: as many, attended uniformly, have this entropy; inf if there is one key.
        affinity: The largest absolute affinity; None if the block does not expose it.
    """

    entropy: float
    num_read: float
    affinity: float | None


def saturation(num_read: float, affinity: float | None) -> str | None:
    """How a softmax is saturated, as text that follows the name of its block; None if it is not."""
    signs = []
    if num_read <= FEW:
        signs.append(
            f"a query attends to effectively {num_read:.2f} keys (at most {FEW}), and hardly any gradient passes"
        )
    if affinity is not None and affinity >= LARGE:
        signs.append(f"affinities reach {affinity:,.0f} (at least {LARGE:.0f}), where rounding changes the weights")
    return f"has a saturated softmax: {'; '.join(signs)}. To change it, {REMEDY}" if signs else None


@torch.no_grad()
def largest_affinity(block: Any, features: tuple[Tensor, ...], queries: Tensor) -> float | None:
    """The largest absolute affinity of a block's softmax on one clip; None if the block does not expose it.

    Args:
        block: Any block.
        features: Its inputs: x (1, C, T, H, W), and the features of an earlier stage for blocks that take them.
        queries: Flat indices of the query positions, (Q,).
    """
    factors = block.factors(*features) if block.weights_sum_to_one else None
    if not isinstance(factors, ProductWeights) or factors.activation != "softmax":
        return None
    return float(factors.affinities(queries).abs().max())


def measure_softmax(
    network: nn.Module, blocks: Mapping[str, Any], clips: Tensor, num_queries: int = 64
) -> dict[str, Softmax]:
    """Measures the softmax of every block with learned attention, at evenly spaced queries.

    For pyramids the keys are measured, not the bins: a bin of many keys is not a single key.

    Args:
        network: Runs every one of the blocks on a clip.
        blocks: By name.
        clips: (B, 3, T, H, W), on the network's device.
        num_queries: The number of query positions in each clip; all if there are fewer.
    """
    learns = {name: block for name, block in blocks.items() if block.weights_sum_to_one and block.weighs_positions}
    found: dict[str, list[Softmax]] = {name: [] for name in learns}

    def read(name: str, features: tuple[Tensor, ...], output: Tensor) -> None:
        x, *low = features
        num_positions = math.prod(x.shape[2:])
        asked = min(num_queries, num_positions)
        queries = torch.arange(asked, device=x.device) * num_positions // asked
        weights = learns[name].attention(x, queries, *low).cpu()
        even = learns[name].uniform_attention(features, queries, weights.shape[2:]).cpu()
        (share, num_read), (_, most) = _read(weights), _read(even)
        num_read = num_read if most > FEW else math.inf
        found[name].append(Softmax(share, num_read, largest_affinity(learns[name], features, queries)))

    if learns:
        # A compiled network does not call hooks that were added after its compilation.
        with torch.compiler.set_stance("force_eager"):
            for clip in clips:
                read_features(network, learns, clip[None], read)
    return {name: _mean(of_clips) for name, of_clips in found.items() if of_clips}


def _read(weights: Tensor) -> tuple[float, float]:
    """Entropy of rows (1, Q, *keys) over log M, and the effective number of keys."""
    share = float(entropy(distribution(weights)).mean())
    return share, float(weights[0, 0].numel() ** share)


def _mean(of_clips: list[Softmax]) -> Softmax:
    shares, nums_read, affinities = zip(*of_clips, strict=True)
    told = [affinity for affinity in affinities if affinity is not None]
    return Softmax(sum(shares) / len(shares), sum(nums_read) / len(nums_read), max(told, default=None))
