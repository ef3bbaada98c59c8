"""The maps as numbers: one NumPy file for the attention of each block, one for the evidence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videonl.visualization.attention import AttentionMap
from videonl.visualization.clip import ShownClip
from videonl.visualization.evidence import EvidenceMap
from videonl.visualization.grid import Position, keys_of_pixels
from videonl.visualization.saving import replacing


def save_arrays(clip: ShownClip, maps: Sequence[AttentionMap], path: str | Path) -> None:
    """Writes the attention of one block as an ``.npz``, which ``numpy.load`` reads without pickle.

    ========================================  ===============  ======================================================
    array                                     shape            what
    ========================================  ===============  ======================================================
    weights                                   (Q, T', H', W')  float32, over the block's keys
    queries                                   (Q, 3)           frame, y, x of the clip: the centers of the query cells
    cells                                     (Q, 3)           the query cells in the block's grid
    grid, size                                (3,)             the block's grid in cells; the clip in frames and pixels
    key_of_frame, key_of_row, key_of_column   (T,) (H,) (W,)   the key of each pixel; -1 for none
    video_frames, seconds                     (T,)             index and time of each frame in the video
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
    arrays = {
        "weights": np.stack([attention.weights.numpy() for attention in maps]),
        "queries": np.array([attention.query for attention in maps]),
        "cells": np.array([attention.cell for attention in maps]),
        "block": np.array(first.block),
    }
    _save(arrays | _places(clip, first.weights.shape, first.grid), path)


def save_evidence(clip: ShownClip, maps: Sequence[EvidenceMap], path: str | Path) -> None:
    """Writes the evidence for classes as an ``.npz``, which ``numpy.load`` reads without pickle.

    In addition to the geometry of :func:`save_arrays`:

    ========================================  ===============  ======================================================
    array                                     shape            what
    ========================================  ===============  ======================================================
    evidence                                  (K, T', H', W')  float32, over the layer's cells; below 0: against
    classes, class_indices, probabilities     (K,)             the classes, and their probabilities
    layer, video                              ()               names
    ========================================  ===============  ======================================================

    Args:
        clip: what was shown to the network.
        maps: of one layer, one for each class.
        path: ends in ``.npz``; missing folders are made.

    Raises:
        UserError: the file cannot be written under this name.
        ValueError: ``maps`` are of several layers, or there are none.
    """
    if len({evidence.layer for evidence in maps}) != 1:
        raise ValueError("maps must be those of one layer")
    first = maps[0]
    arrays = {
        "evidence": np.stack([evidence.values.numpy() for evidence in maps]),
        "classes": np.array([evidence.class_name for evidence in maps]),
        "class_indices": np.array([evidence.class_index for evidence in maps]),
        "probabilities": np.array([evidence.probability for evidence in maps]),
        "layer": np.array(first.layer),
    }
    _save(arrays | _places(clip, first.grid, first.grid), path)


def _places(clip: ShownClip, keys: Sequence[int], grid: Position) -> dict[str, Any]:
    """Where the numbers lie: in the clip's pixels, and the clip in its video."""
    axes = zip(("frame", "row", "column"), keys, grid, clip.size, strict=True)
    of_pixels = {f"key_of_{name}": keys_of_pixels(*sizes).numpy() for name, *sizes in axes}
    return {
        "grid": np.array(grid),
        "size": np.array(clip.size),
        "video_frames": np.array(clip.video_frames),
        "seconds": np.array(clip.seconds),
        "crop": np.array(clip.crop),
        "video": np.array(clip.name),
        **of_pixels,
    }


def _save(arrays: Mapping[str, Any], path: str | Path) -> None:
    with replacing(path, ".npz") as temporary, temporary.open("wb") as file:  # to a path numpy would add the ending
        np.savez_compressed(file, **arrays)
