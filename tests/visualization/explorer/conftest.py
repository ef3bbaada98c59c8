"""A page with a block of every form, opened from disk in a real browser."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import BLOCKS, AttentionBlock
from videonl.visualization import ShownClip
from videonl.visualization.explorer import Source, write_explorer
from videonl.visualization.features import observe

SIZE = (7, 44, 60)
NAME = '<img src=x onerror="hacked=1">{{script}}\'</script><script>hacked=1</script>.mp4'

CHOSEN: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("nonlocal", {}),
    "gaussian": ("nonlocal", {"pairwise": "gaussian", "subsample": False}),
    "dot product": ("nonlocal", {"pairwise": "dot_product"}),
    "concatenation": ("nonlocal", {"pairwise": "concatenation"}),
    "space": ("nonlocal", {"reach": "space", "scale": True}),
    "time": ("nonlocal", {"reach": "time"}),
    "groups": ("nonlocal", {"reach": "groups", "group_frames": 2, "pairwise": "concatenation"}),
    "pyramid": ("asymmetric_pyramid", {"sizes": [(1, 1, 1), (2, 3, 5)]}),
    "fusion": ("asymmetric_fusion", {"low_channels": 3, "sizes": [(2, 3, 5)]}),
    "criss-cross": ("criss_cross", {}),
    "axial": ("axial", {}),
    "context": ("gc", {}),
    "<b>table</b>": ("nonlocal", {"subsample": False}),
}


class Tabled(AttentionBlock):
    """A block that gives rows but no factors."""

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.inner = block

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        return self.inner.attention(x, queries)


class Network(nn.Module):
    """Grid of 3 x 11 x 15, odd where keys are pooled; fusion reads the finer 7 x 22 x 30."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.low = nn.Conv3d(3, 3, 2, stride=(1, 2, 2), padding=(0, 0, 0))
        self.down = nn.Conv3d(3, 6, (2, 2, 2), stride=2)
        self.blocks = nn.ModuleList()
        for name, (kind, options) in CHOSEN.items():
            block = BLOCKS[kind](6, **options)
            self.blocks.append(Tabled(block) if "table" in name else block)
        for parameter in self.parameters():
            parameter.data = 0.6 * torch.randn(parameter.shape, generator=generator)
        self.eval()

    @property
    def named(self) -> dict[str, AttentionBlock]:
        return dict(zip(CHOSEN, self.blocks, strict=True))

    def forward(self, clip: Tensor) -> Tensor:
        low = self.low(torch.cat([clip, clip[:, :, -1:]], dim=2))
        x = self.down(low).tanh()
        for block in self.blocks:
            block(x, low) if block.takes_low else block(x)
        return x.flatten(2).mean(dim=2)


@pytest.fixture(scope="session")
def clip() -> ShownClip:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 4, 6, 8, generator=generator)
    frames = nn.functional.interpolate(coarse, SIZE, mode="trilinear")[0].permute(1, 2, 3, 0)
    seconds = tuple(0.5 + index / 8 for index in range(SIZE[0]))
    return ShownClip(NAME, (frames * 255).to(torch.uint8), tuple(range(4, 11)), seconds, (0.0, 0.0, 44.0, 60.0))


@pytest.fixture(scope="session")
def sources(clip: ShownClip) -> list[Source]:
    pixels = clip.frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    networks = {"first": Network(seed=2), "second <i>": Network(seed=3)}
    return [
        Source(name, "<u>run</u>", network.named, observe(network, network.named, pixels))
        for name, network in networks.items()
    ]


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory, clip: ShownClip, sources: list[Source]) -> Path:
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    write_explorer(clip, sources[:1], path, query=(3, 20, 33))
    return path


@pytest.fixture(scope="session")
def compared_file(tmp_path_factory: pytest.TempPathFactory, clip: ShownClip, sources: list[Source]) -> Path:
    path = tmp_path_factory.mktemp("explorer") / "compared.html"
    write_explorer(clip, sources, path)
    return path
