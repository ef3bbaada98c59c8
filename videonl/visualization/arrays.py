"""The weights as numbers: one NumPy file for each block."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videonl.visualization.attention import AttentionMap
from videonl.visualization.clip import ShownClip
from videonl.visualization.grid import keys_of_pixels
from videonl.visualization.saving import replacing


def save_arrays(clip: ShownClip, maps: Sequence[AttentionMap], path: str | Path) -> None:
    """Writes what one block attends to as an ``.npz``, which ``numpy.load`` reads without pickle.

    ========================================  ===============  ======================================================
    array                                     shape            what
    ========================================  ===============  ======================================================
    weights                                   (Q, T', H', W')  float32, over the block's keys
    queries                                   (Q, 3)           frame, y, x of the clip: the centres of the asked cells
    cells                                     (Q, 3)           the asked cells in the block's grid
    grid, size                                (3,)             the block's grid in cells; the clip in frames and pixels
    key_of_frame, key_of_row, key_of_column   (T,) (H,) (W,)   the key each pixel belongs to; -1 for none
    video_frames, seconds                     (T,)             where each frame lies in the video
    crop                                      (4,)             top, left, height, width, in pixels of the video
    block, video                              ()               names
    ========================================  ===============  ======================================================

    Args:
        clip: what was shown to the network.
        maps: of one block, one for each query.
        path: ends in ``.npz``; missing folders are made.

    Raises:
        UserError: the file cannot be written under this name.
        ValueError: ``maps`` are of several blocks, or there are none.
    """
    if len({attention.block for attention in maps}) != 1:
        raise ValueError("maps must be those of one block")
    first = maps[0]
    arrays: dict[str, Any] = {
        "weights": np.stack([attention.weights.numpy() for attention in maps]),
        "queries": np.array([attention.query for attention in maps]),
        "cells": np.array([attention.cell for attention in maps]),
        "grid": np.array(first.grid),
        "size": np.array(clip.size),
        "video_frames": np.array(clip.video_frames),
        "seconds": np.array(clip.seconds),
        "crop": np.array(clip.crop),
        "block": np.array(first.block),
        "video": np.array(clip.name),
    }
    axes = zip(("frame", "row", "column"), first.weights.shape, first.grid, clip.size, strict=True)
    for name, keys, cells, size in axes:
        arrays[f"key_of_{name}"] = keys_of_pixels(keys, cells, size).numpy()
    with replacing(path, ".npz") as temporary:
        np.savez_compressed(temporary, **arrays)
