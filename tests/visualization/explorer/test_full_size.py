"""The explorer at the size of the papers: five blocks of a full-width ResNet-50, a clip of 8 x 224 x 224."""

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from videonl.models import ClipClassifier, Insertion
from videonl.visualization import ShownClip
from videonl.visualization.explorer import Source, write_explorer
from videonl.visualization.features import observe

SIZE = (8, 224, 224)
MAX_MB, MAX_MS = 15, 50


def smooth_clip() -> ShownClip:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 4, 28, 28, generator=generator)
    frames = nn.functional.interpolate(coarse, SIZE, mode="trilinear")[0].permute(1, 2, 3, 0)
    seconds = tuple(index / 4 for index in range(8))
    return ShownClip("clip.mp4", (frames * 255).to(torch.uint8), tuple(range(8)), seconds, (0.0, 0.0, 224.0, 224.0))


def awake_classifier(backbone: str, block: str, options: dict[str, Any]) -> ClipClassifier:
    torch.manual_seed(0)
    network = ClipClassifier(backbone, 6, [Insertion(block, {"res3": [1, 3], "res4": [1, 3, 5]}, options)])
    for inserted in network.blocks.values():
        for name, parameter in inserted.named_parameters():
            if name.endswith(("norm.weight", "gamma")):
                nn.init.normal_(parameter, std=0.5)
            if name in ("theta.weight", "phi.weight") and block == "nonlocal":
                parameter.data *= 8  # weights that differ by query, as trained ones do
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "block", "options"),
    [
        ("i3d_r50", "nonlocal", {}),
        ("slow_r50", "nonlocal", {}),
        ("slow_r50", "nonlocal", {"subsample": False}),
        ("slow_r50", "nonlocal", {"pairwise": "dot_product"}),
        ("slow_r50", "criss_cross", {}),
        ("slow_r50", "asymmetric_pyramid", {}),
    ],
    ids=str,
)
def test_five_blocks_are_small_and_answer_at_once(
    open_page, tmp_path: Path, record_property, backbone, block, options
) -> None:
    clip = smooth_clip()
    network = awake_classifier(backbone, block, options)
    pixels = clip.frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    path = tmp_path / "explorer.html"
    written = write_explorer(
        clip, [Source("best.ckpt", "hug", network.blocks, observe(network, network.blocks, pixels))], path
    )
    megabytes = path.stat().st_size / 1e6
    page = open_page(path)
    milliseconds = []
    for turn in range(25):
        page.evaluate("explorer.lastResponseMs = null")
        page.locator(".strip .picture").nth(turn % 8).click(position={"x": 5 + 4 * turn, "y": 110 - 4 * turn})
        while page.evaluate("explorer.lastResponseMs") is None:
            page.wait_for_timeout(5)
        milliseconds.append(page.evaluate("explorer.lastResponseMs"))
    median, slowest = statistics.median(milliseconds), max(milliseconds)
    error = max(block.error for block in written)
    print(
        f"{backbone} {block} {options}: {megabytes:.2f} MB, median {median:.1f} ms, slowest {slowest:.1f} ms, "
        f"weights within {100 * error:.2f} %"
    )
    assert megabytes < MAX_MB
    assert median < MAX_MS
