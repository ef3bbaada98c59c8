"""Saturation: a softmax whose affinities have grown so large that it reads one key and hardly learns any more."""

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
    "train with scale: true, which divides affinities by sqrt(Ci), with pairwise: dot_product, which has no softmax, "
    "or with a lower learning rate"
)


class Softmax(NamedTuple):
    """How a block's softmax reads some clips.

    Attributes:
        entropy: Over log M, mean over queries and clips: 1 reads all keys alike, 0 one.
        num_read: As many keys, read alike, have this entropy; inf where there is but one to read.
        affinity: The largest in size that the softmax takes; None where the block does not tell.
    """

    entropy: float
    num_read: float
    affinity: float | None


def saturation(num_read: float, affinity: float | None) -> str | None:
    """What is saturated about a softmax, in words that follow its block's name; None where nothing is."""
    signs = []
    if num_read <= FEW:
        signs.append(f"a query reads as good as {num_read:.2f} keys (at most {FEW}), and hardly any gradient passes")
    if affinity is not None and affinity >= LARGE:
        signs.append(f"affinities reach {affinity:,.0f} (at least {LARGE:.0f}), where rounding changes the weights")
    return f"has a saturated softmax: {'; '.join(signs)}. To change it, {REMEDY}" if signs else None


@torch.no_grad()
def largest_affinity(block: Any, features: tuple[Tensor, ...], queries: Tensor) -> float | None:
    """The largest in size of the affinities that a block's softmax takes of one clip; None where it does not tell.

    Args:
        block: Any block.
        features: Its inputs: x (1, C, T, H, W), and the features of an earlier stage for blocks that take them.
        queries: Flat indices of the asked positions, (Q,).
    """
    factors = block.factors(*features) if block.weights_sum_to_one else None
    if not isinstance(factors, ProductWeights) or factors.activation != "softmax":
        return None
    return float(factors.affinities(queries).abs().max())


def measure_softmax(
    network: nn.Module, blocks: Mapping[str, Any], clips: Tensor, num_queries: int = 64
) -> dict[str, Softmax]:
    """Measures the softmax of every block that has one and learns what it reads, at evenly spaced queries.

    Of pyramids the keys are measured, not the bins: one bin of many keys is no single key.

    Args:
        network: Runs every one of the blocks on a clip.
        blocks: By name.
        clips: (B, 3, T, H, W), on the network's device.
        num_queries: How many positions of each clip ask; all where there are fewer.
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
        # Compiled, a network would not call hooks that it had not when it was compiled.
        with torch.compiler.set_stance("force_eager"):
            for clip in clips:
                read_features(network, learns, clip[None], read)
    return {name: _mean(of_clips) for name, of_clips in found.items() if of_clips}


def _read(weights: Tensor) -> tuple[float, float]:
    """Entropy of rows (1, Q, *keys) over log M, and as good as how many keys they read."""
    share = float(entropy(distribution(weights)).mean())
    return share, float(weights[0, 0].numel() ** share)


def _mean(of_clips: list[Softmax]) -> Softmax:
    shares, nums_read, affinities = zip(*of_clips, strict=True)
    told = [affinity for affinity in affinities if affinity is not None]
    return Softmax(sum(shares) / len(shares), sum(nums_read) / len(nums_read), max(told, default=None))
