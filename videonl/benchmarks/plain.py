"""The plain implementations that the blocks are timed against: the same mathematics, written down as it reads.

Each takes one of our blocks, whose weights it uses, and features (B, C, T, H, W), and returns what the block returns.
Shapes: B batch, N query positions, M key positions, Ci inner channels.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from videonl.blocks import AttentionBlock, GlobalContext, NonLocal
from videonl.blocks.asymmetric import Asymmetric, AsymmetricFusion, AsymmetricPyramid
from videonl.blocks.criss_cross import LineHops

PlainForm = Callable[[AttentionBlock, Tensor], Tensor]


def matrix(block: AttentionBlock, x: Tensor) -> Tensor:
    """Non-local block by its N x M affinities; for the concatenation by broadcasting ``a_i + b_j``."""
    assert isinstance(block, NonLocal)
    if block.pairwise != "concatenation":
        return _read(block, x, _affinity(block, x))
    of_query, of_key = block.concat.chunk(2)
    a = torch.matmul(of_query, block.theta(x).flatten(2)).unsqueeze(2)  # (B, N, 1)
    b = torch.matmul(of_key, _pool(block, block.phi(x)).flatten(2)).unsqueeze(1)  # (B, 1, M)
    return _read(block, x, torch.relu(a + b))


def pairs(block: AttentionBlock, x: Tensor) -> Tensor:
    """Concatenation form by the 2Ci x N x M tensor of every query beside every key, as public implementations do."""
    assert isinstance(block, NonLocal)
    theta = block.theta(x).flatten(2).unsqueeze(3)  # (B, Ci, N, 1)
    phi = _pool(block, block.phi(x)).flatten(2).unsqueeze(2)  # (B, Ci, 1, M)
    both = torch.cat([theta.repeat(1, 1, 1, phi.shape[3]), phi.repeat(1, 1, theta.shape[2], 1)], dim=1)
    affinity = F.conv2d(both, block.concat.reshape(1, -1, 1, 1)).squeeze(1)  # (B, 2Ci, N, M) -> (B, N, M)
    return _read(block, x, torch.relu(affinity))


def pooled_bins(block: AttentionBlock, x: Tensor) -> Tensor:
    """Asymmetric block: all positions are projected, then pooled once for each level of the pyramid."""
    assert isinstance(block, Asymmetric)
    theta, phi, g = _asymmetric_projections(block, x)
    y = _softmax_read(block.scale * theta.flatten(2).mT, _bins(phi, block.levels), _bins(g, block.levels))
    change: Tensor = block.out(y.reshape(*y.shape[:2], *x.shape[2:]))
    return x + change


def masked_matrix(block: AttentionBlock, x: Tensor) -> Tensor:
    """Attention along lines by N x N affinities, masked outside the lines, once for each hop."""
    assert isinstance(block, LineHops)
    for hop in block.hops():
        theta, phi, g = (part.flatten(2) for part in (hop.theta(x), hop.phi(x), hop.g(x)))
        outside = ~_on_lines(x, hop.axes)
        weights = torch.matmul(theta.mT, phi).masked_fill(outside, -torch.inf).softmax(dim=2)
        x = x + hop.gamma * torch.matmul(g, weights.mT).reshape(x.shape)
    return x


def as_written(block: AttentionBlock, x: Tensor) -> Tensor:
    """Global context step by step, the logits by a convolution to one channel."""
    assert isinstance(block, GlobalContext)
    if block.mask is None:
        context = F.adaptive_avg_pool3d(x, 1)
    else:
        weights = block.mask(x).flatten(2).softmax(dim=2)  # (B, 1, N)
        context = torch.matmul(x.flatten(2), weights.mT)[..., None, None]  # (B, C, N) -> (B, C, 1, 1, 1)
    change: Tensor = block.out(block.reduce(context))
    if block.fusion == "add":
        return x + change
    return x * change.sigmoid() if block.fusion == "multiply" else x * (2 * change.sigmoid())


def _affinity(block: NonLocal, x: Tensor) -> Tensor:
    gaussian = block.pairwise == "gaussian"
    theta, phi = (x, x) if gaussian else (block.theta(x), block.phi(x))
    return torch.matmul(theta.flatten(2).mT, _pool(block, phi).flatten(2))  # (B, N, Ci) x (B, Ci, M) -> (B, N, M)


def _read(block: NonLocal, x: Tensor, affinity: Tensor) -> Tensor:
    """The rest of a non-local block: normalize the affinities (B, N, M), read, project, add."""
    linear = block.pairwise in ("dot_product", "concatenation")
    weights = affinity / affinity.shape[2] if linear else (block.scale * affinity).softmax(dim=2)
    values = _pool(block, block.g(x)).flatten(2).mT  # (B, Ci, *grid) -> (B, M, Ci)
    y = torch.matmul(weights, values).mT.contiguous().reshape(x.shape[0], -1, *x.shape[2:])
    z: Tensor = block.norm(block.out(y)) + x
    return z


def _pool(block: NonLocal, x: Tensor) -> Tensor:
    return F.max_pool3d(x, [1, min(2, x.shape[3]), min(2, x.shape[4])]) if block.subsample else x


def _asymmetric_projections(block: Asymmetric, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    assert isinstance(block, AsymmetricPyramid | AsymmetricFusion)
    theta = block.theta(x)
    return theta, block.phi(x) if isinstance(block, AsymmetricFusion) else theta, block.g(x)


def _bins(x: Tensor, levels: Sequence[tuple[int, ...]]) -> Tensor:
    # (B, C, *grid) -> (B, C, S)
    return torch.cat([F.adaptive_avg_pool3d(x, (t, h, w)).flatten(2) for t, h, w in levels], dim=2)


def _softmax_read(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    # (B, N, Ci), (B, Ci, M) and (B, Cg, M) -> (B, Cg, N)
    return torch.matmul(g, torch.matmul(theta, phi).softmax(dim=2).mT)


def _on_lines(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Which of all pairs of positions share every coordinate but that of one of the axes: (N, N) bool."""
    indices = [torch.arange(size, device=x.device) for size in x.shape[2:]]
    grid = torch.meshgrid(*indices, indexing="ij")
    same = [c.flatten()[:, None] == c.flatten() for c in grid]  # for each axis, (N, N)
    lines = torch.zeros_like(same[0])
    for axis in axes:
        others = torch.ones_like(same[0])
        for other, equal in enumerate(same, start=2):
            others = others & equal if other != axis else others
        lines |= others
    return lines
