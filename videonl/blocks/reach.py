"""The keys in reach of a query: the whole clip, its frame, its tube of pixels, or its chunk of frames.

A restricted reach is the whole-clip form on each frame, tube or chunk by itself, so these become the batch.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from videonl.blocks.options import require_known, require_positive

Reach = Literal["spacetime", "space", "time", "groups"]


def require_reach(reach: Reach, group_frames: int | None, num_dims: int) -> None:
    """Rejects an unknown reach, and options that do not fit it.

    Raises:
        ValueError: Quoting the values.
    """
    require_known(get_args(Reach), reach=reach)
    if reach != "spacetime" and num_dims != 3:
        raise ValueError(f"reach={reach!r} needs time and space, num_dims=3; got num_dims={num_dims}")
    if (reach == "groups") != (group_frames is not None):
        raise ValueError(f"group_frames requires reach='groups', got group_frames={group_frames}, reach={reach!r}")
    if group_frames is not None:
        require_positive(group_frames=group_frames)


def split_reach(x: Tensor, reach: Reach, group_frames: int | None = None) -> list[Tensor]:
    """Splits features into sets of positions that do not attend to one another.

    Args:
        x: Features, (B, C, T, H, W); for spacetime also (B, C, T) or (B, C, H, W).
        reach: Which positions stay together.
        group_frames: Frames of a chunk, for ``groups``.

    Returns:
        Parts (B', C, positions), where B' counts clips times frames, tubes or chunks. There is one part, and one more
        for the last chunk where it is shorter than the others.
    """
    if reach == "spacetime":
        return [x.flatten(2)]
    if reach == "time":
        return [x.permute(0, 3, 4, 1, 2).flatten(0, 2)]  # (B, C, T, H, W) -> (B * H * W, C, T)
    size = chunk_frames(reach, group_frames)
    whole = x.shape[2] // size * size
    chunks = x[:, :, :whole].unflatten(2, (-1, size)) if whole else None  # (B, C, chunks, size, H, W)
    parts = [] if chunks is None else [chunks.transpose(1, 2).flatten(0, 1).flatten(2)]  # (B * chunks, C, size * H * W)
    return parts if whole == x.shape[2] else [*parts, x[:, :, whole:].flatten(2)]


def join_reach(parts: list[Tensor], size: torch.Size, reach: Reach) -> Tensor:
    """Undoes :func:`split_reach`.

    Args:
        parts: As :func:`split_reach` returns them.
        size: Of the features to join to: (B, any, T, H, W), or without T or without H and W for spacetime.
        reach: The reach they were split with.

    Returns:
        Features, (B, C, T, H, W), or as ``size`` says.
    """
    batch, grid = size[0], size[2:]
    if reach == "spacetime":
        return parts[0].reshape(*parts[0].shape[:2], *grid)
    if reach == "time":
        tubes = parts[0].reshape(batch, *grid[1:], *parts[0].shape[1:])
        return tubes.permute(0, 3, 4, 1, 2)  # (B, H, W, C, T) -> (B, C, T, H, W)
    chunks = [part.unflatten(0, (batch, -1)).unflatten(3, (-1, *grid[1:])) for part in parts]
    # (B, chunks, C, size, H, W) -> (B, C, chunks * size, H, W)
    return torch.cat([chunk.transpose(1, 2).flatten(2, 3) for chunk in chunks], dim=2)


def reachable_keys(
    queries: Tensor, size: torch.Size, keys: torch.Size, reach: Reach, group_frames: int | None
) -> Tensor:
    """The keys that the given queries reach.

    Args:
        queries: Flat indices into the query grid, (Q,).
        size: The query grid (T, H, W).
        keys: The key grid (T, H', W'); that of the queries for ``time``.
        reach: How far a query reads; not ``spacetime``, where every key is read.
        group_frames: Frames of a chunk, for ``groups``.

    Returns:
        A mask (Q, T * H' * W').
    """
    num_pixels, num_key_pixels = size[1:].numel(), keys[1:].numel()
    key = torch.arange(keys.numel(), device=queries.device)
    # A negative index counts from the end, as it does everywhere else.
    query = queries.remainder(size.numel()).unsqueeze(1)
    if reach == "time":
        return key % num_key_pixels == query % num_pixels
    frames = chunk_frames(reach, group_frames)
    return key // num_key_pixels // frames == query // num_pixels // frames


def chunk_frames(reach: Reach, group_frames: int | None) -> int:
    """Number of frames that attend to one another; space is a chunk of one frame."""
    if reach == "space":
        return 1
    assert reach == "groups" and group_frames is not None
    return group_frames
