"""Forwards on the device ``cuda`` as fake tensors, on any machine: what asks for the device by its name, too."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS
from videonl.data.transforms import ClipFormat
from videonl.inference import network_input
from videonl.models import ClipClassifier, Insertion
from videonl.tasks import MultiLabel, SingleLabel
from videonl.tasks.loss import Loss

pytestmark = [
    pytest.mark.usefixtures("fake_cuda"),
    pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 asks the driver for a fake cuda"),
]
# The others differ from these in depth or in kernels alone.
NETWORKS = ["c2d_r50", "i3d_r50", "slow_r50", "slowfast_r50", "x3d_s", "i3d_inception", "r3d_18", "s3d", "hara_r2p1d"]
PAIRWISE = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
CASES = [(name, {}) for name in BLOCKS] + [("nonlocal", {"pairwise": name, "subsample": False}) for name in PAIRWISE]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_blocks(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    low = {"low_channels": 13} if BLOCKS[name].takes_low else {}
    torch.set_default_dtype(dtype)  # fake weights cannot be converted in place
    try:
        block = BLOCKS[name](11, **low, **options)
    finally:
        torch.set_default_dtype(torch.float32)
    x, *others = [torch.randn(2, channels, 3, 5, 7, dtype=dtype) for channels in (11, 13)[: 1 + len(low)]]
    y = block(x, *others)
    assert (y.device.type, y.shape, y.dtype) == ("cuda", x.shape, dtype)
    weights = block.attention(x, torch.tensor([0, 17]), *others)
    assert weights.device.type == "cuda" and weights.shape[:2] == (2, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_blocks(name: str) -> None:
    assert name in BACKBONES
    place = "mixed_3" if name in ("i3d_inception", "s3d") else "res3"
    blocks = [Insertion("nonlocal", [place]), Insertion("gc", [place.replace("3", "4")])]
    network = ClipClassifier(name, 7, blocks)
    pixels = torch.randint(256, (2, 3, 32, 64, 64), dtype=torch.uint8)
    clip = network_input(pixels, ClipFormat(), torch.float32, torch.channels_last_3d)
    logits = network(clip)
    assert (logits.device.type, logits.shape) == ("cuda", (2, 7))


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_losses(kind: str) -> None:
    loss = Loss(kind, class_weights="inverse")
    logits = torch.randn(5, 3)
    for task, target in (
        (SingleLabel, torch.zeros(5, dtype=torch.int64)),
        (SingleLabel, torch.zeros(5, 3)),
        (MultiLabel, torch.zeros(5, 3)),
    ):
        weights = torch.rand(3, device="cpu")  # where tasks hold them
        judge = task(None, loss, weights, None)
        assert judge.loss(logits, target, 0.1).device.type == judge.hits(logits, target).device.type == "cuda"


class Forgetful(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(x.shape[-1], device="cpu")


def test_a_tensor_left_on_the_cpu_fails() -> None:
    x = torch.ones(3, 5)
    assert isinstance(x, FakeTensor) and x.device.type == "cuda"
    with pytest.raises(Exception, match=r"found at least two devices|Unhandled FakeTensor Device Propagation"):
        Forgetful()(x)
