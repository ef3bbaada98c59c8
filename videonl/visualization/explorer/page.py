"""Writes the page: one HTML file that holds the clip, the weights and the code, and opens from disk."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from videonl.blocks.contract import AttentionBlock
from videonl.names import shortened
from videonl.visualization.clip import ShownClip
from videonl.visualization.drawing import color_table
from videonl.visualization.evidence import EvidenceMap
from videonl.visualization.explorer.weights import PackedWeights, pack_map, pack_weights
from videonl.visualization.features import Observation, require_blocks
from videonl.visualization.grid import Position, center_of, keys_of_pixels
from videonl.visualization.queries import require_inside
from videonl.visualization.saving import replacing
from videonl.visualization.web.page import self_contained

_SCRIPTS = ("weights.js", "geometry.js", "overlay.js", "links.js", "panel.js", "main.js", "controls.js")
_WEBP_QUALITY = 90


@dataclass(frozen=True)
class Source:
    """A network to look into.

    Attributes:
        name: for people, such as the checkpoint's.
        prediction: what it calls the clip.
        blocks: its attention blocks by name.
        seen: a forward pass of the shown clip, in which each of ``blocks`` was observed.
        evidence: what speaks for classes, to show beside the blocks or, where there are none, alone.
    """

    name: str
    prediction: str
    blocks: Mapping[str, AttentionBlock]
    seen: Observation
    evidence: Sequence[EvidenceMap] = ()


class Written(NamedTuple):
    """What the page holds of one block, or of the evidence for one class.

    Attributes:
        name: of it, and of its network where there are several.
        form: how its weights are kept: ``table``, ``product`` or ``hops``.
        num_bytes: what they take in the page.
        error: the largest difference from the block's weights, as a share of a query's largest weight.
    """

    name: str
    form: str
    num_bytes: int
    error: float

    def __str__(self) -> str:
        percent = max(math.ceil(1e4 * self.error) / 100, 0.01)
        return f"{self.name}: {self.form}, {self.num_bytes / 1e6:.2f} MB, weights within {percent} % of the largest"


def write_explorer(
    clip: ShownClip, sources: Sequence[Source], path: str | Path, query: Position | None = None
) -> list[Written]:
    """Writes the explorer of a clip.

    Args:
        clip: what to show.
        sources: one network, or two to compare; each shows all of its blocks and evidence.
        path: ends in ``.html``; missing folders are made.
        query: (frame, y_px, x_px) that asks first; None for the position that the first block changed most.

    Returns:
        What the page holds of each block, then of the evidence.

    Raises:
        UserError: a network has neither blocks nor evidence, the query lies outside the clip, or the file cannot be
            written.
    """
    if query is not None:
        require_inside(query, clip.size)
    blocks = [block for index, source in enumerate(sources) for block in _blocks(index, source, clip.size)]
    data = {
        "video": clip.name,
        "size": clip.size,
        "times": [f"{seconds:.2f} s" for seconds in clip.seconds],
        "frames": [_picture(frame) for frame in clip.frames],
        "colors": (color_table() * 255).round().int().tolist(),
        "query": blocks[0]["mostChanged"] if query is None else query,
        "compare": _compared(blocks),
        "sources": [{"name": source.name, "prediction": shortened(source.prediction)} for source in sources],
        "blocks": blocks,
    }
    with replacing(path, ".html") as temporary:
        temporary.write_text(self_contained(__package__, _SCRIPTS, f"{clip.name}: attention", data), encoding="utf-8")
    return [_written(block, sources) for block in blocks]


def _blocks(index: int, source: Source, size: Position) -> list[dict[str, Any]]:
    if not source.evidence:
        require_blocks(source.blocks)
    blocks = [_block(name, block, source.seen, size) for name, block in source.blocks.items()]
    blocks += [_evidence(shown, size) for shown in source.evidence]
    return [block | _places(block, size) | {"source": index} for block in blocks]


def _compared(blocks: Sequence[Mapping[str, Any]]) -> int | None:
    """What stands beside the first block when the page opens: the other network's first, or else the first evidence."""
    others = [place for place, block in enumerate(blocks) if block["source"] == 1]
    evidence = [place for place, block in enumerate(blocks) if place and block["quantity"] == "evidence"]
    return next(iter(others + evidence), None)


def _block(name: str, block: AttentionBlock, seen: Observation, size: Position) -> dict[str, Any]:
    features = seen.features[name]
    changed = center_of(seen.most_changed[name], features[0].shape[2:], size)
    return {
        "name": name,
        "quantity": "weight",
        "note": "" if block.depends_on_query else "This block attends to the same positions for every query.",
        "grid": list(features[0].shape[2:]),
        "mostChanged": changed,
        **_packed(_pack(name, block, features)),
    }


def _pack(name: str, block: AttentionBlock, features: tuple[Tensor, ...]) -> PackedWeights:
    with torch.no_grad():
        return pack_weights(name, block, features)


def _evidence(shown: EvidenceMap, size: Position) -> dict[str, Any]:
    t, y, x = torch.unravel_index(shown.values.argmax(), shown.values.shape)
    return {
        "name": shown.title,
        "quantity": shown.quantity,
        "note": "; ".join([*shown.details.split("    "), "the same for every query."]),
        "grid": list(shown.grid),
        "mostChanged": center_of((int(t), int(y), int(x)), shown.grid, size),
        **_packed(pack_map(shown.values)),
    }


def _packed(packed: PackedWeights) -> dict[str, Any]:
    return {
        "keys": list(packed.keys),
        "weights": packed.spec,
        "error": packed.error,
        "mayBeNegative": packed.may_be_negative,
    }


def _places(block: Mapping[str, Any], size: Position) -> dict[str, Any]:
    """Which cell and which key every pixel belongs to, by axis."""
    axes = list(zip(block["grid"], block["keys"], size, strict=True))
    return {
        "cellOfPixel": [[pixel * cells // pixels for pixel in range(pixels)] for cells, _, pixels in axes],
        "keyOfPixel": [keys_of_pixels(keys, cells, pixels).tolist() for cells, keys, pixels in axes],
    }


def _picture(frame: Tensor) -> str:
    file = io.BytesIO()
    Image.fromarray(frame.cpu().numpy()).save(file, "WEBP", quality=_WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _written(block: Mapping[str, Any], sources: Sequence[Source]) -> Written:
    name = block["name"] if len(sources) == 1 else f"{block['name']} of {sources[block['source']].name}"
    weights = block["weights"]
    return Written(name, weights["form"], len(json.dumps(weights)), block["error"])
