"""Arrays small enough to travel inside a page: quantized by row, deflated, in base64."""

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Kind = Literal["uint8", "int16", "float32"]
Exact = Literal["uint16", "float64"]


@dataclass(frozen=True)
class PackedArray:
    """A matrix as the page will have it.

    Attributes:
        spec: what the page reads, plain data.
        values: (R, K) float32, what the page will compute from it.
    """

    spec: dict[str, Any]
    values: Tensor


def pack(values: Tensor, kind: Kind, steps: Tensor | None = None) -> PackedArray:
    """Quantizes a matrix row by row.

    Args:
        values: (R, K).
        kind: ``uint8``: 256 equal steps from each row's least value, or from 0, to its largest; ``int16``: equal steps
            around 0, at most 32767 to each side; ``float32``: as it is.
        steps: for ``int16`` the steps that are fine enough for each row, (R,). What needs fewer than 32767 of them
            takes fewer bits once it is deflated.
    """
    values = values.detach().float().cpu()
    if kind == "float32":
        return PackedArray(_spec(values.numpy(), kind), values)
    if kind == "uint8":
        offset = values.amin(dim=1, keepdim=True).clamp(max=0)
        scale = (values.amax(dim=1, keepdim=True) - offset) / 255
    else:
        offset = values.new_zeros(len(values), 1)
        scale = values.abs().amax(dim=1, keepdim=True) / 32767
        scale = scale if steps is None else torch.maximum(scale, steps.float()[:, None])
    scale[scale == 0] = 1
    counts = ((values - offset) / scale).round()
    rows = {"scale": _text(scale.numpy()), "offset": _text(offset.numpy())}
    return PackedArray(_spec(counts.numpy(), kind) | rows, counts * scale + offset)


def pack_exactly(values: NDArray[Any], kind: Exact) -> dict[str, Any]:
    """Packs a matrix (R, K) of numbers that the type holds exactly.

    Returns:
        What the page reads, plain data.
    """
    return _spec(values, kind)


def _spec(values: NDArray[Any], kind: Kind | Exact) -> dict[str, Any]:
    array = values.astype(np.dtype(kind).newbyteorder("<"))
    return {"kind": kind, "shape": list(array.shape), "data": _text(array)}


def _text(array: NDArray[Any]) -> str:
    # All first bytes, then all second ones and so on: the high bytes of small numbers, all alike, deflate to nothing.
    planes = np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.itemsize).T
    return base64.b64encode(zlib.compress(planes.tobytes(), level=6)).decode("ascii")
