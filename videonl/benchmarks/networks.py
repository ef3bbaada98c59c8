"""Whole networks: plain pytorchvideo with blocks that build N x N matrices beside ours, with the same weights."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from videonl.backbones.fold import folded
from videonl.benchmarks.cases import FORMS
from videonl.benchmarks.measure import MIB, call_ms
from videonl.benchmarks.memory import peak_bytes
from videonl.models import ClipClassifier, Execution, Insertion
from videonl.models.execution import keep_freed_memory

Side = Literal["ours", "plain"]
SIDES: tuple[Side, ...] = ("ours", "plain")
FIVE_BLOCKS = {"res3": [1, 3], "res4": [1, 3, 5]}  # of a ResNet-50, arXiv:1711.07971
MATMUL_SIZES = (1024, 2048, 4096)
WARM_UP_SIZE = (1, 3, 2, 32, 32)
PLAIN = Execution(frames_in_2d=False, in_place=False)


@dataclass(frozen=True)
class NetworkSetting:
    """A network and where it is measured.

    Attributes:
        backbone: A name of ``BACKBONES``.
        blocks: Whether it has five non-local blocks, embedded Gaussian.
        subsample: Whether their keys are subsampled.
        clips: Clips (B, 3, T, H, W).
        width: Channels of the stem.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32``, ``tf32`` (float32 whose products may round to TF32), or ``bfloat16`` (autocast).
        execution: How ours runs.
        keep_memory: Whether our process keeps freed memory.
    """

    backbone: str = "i3d_r50"
    blocks: bool = True
    subsample: bool = True
    clips: tuple[int, int, int, int, int] = (2, 3, 8, 224, 224)
    width: int = 64
    device: str = "cpu"
    dtype: str = "float32"
    execution: Execution = field(default_factory=Execution)
    keep_memory: bool = True

    @property
    def case(self) -> str:
        """The network in a word."""
        if not self.blocks:
            return self.backbone
        return f"{self.backbone}_nonlocal5" + ("" if self.subsample else "_all_keys")


def build(side: Side, setting: NetworkSetting) -> ClipClassifier:
    """The network with its weights, which are the same on both sides.

    The plain one has every rewrite off, the memory format that PyTorch has by default, and blocks that build the
    matrix of all affinities.
    """
    torch.manual_seed(0)
    insertions = [Insertion("nonlocal", FIVE_BLOCKS, {"subsample": setting.subsample})] if setting.blocks else []
    execution = setting.execution if side == "ours" else PLAIN
    network = ClipClassifier(setting.backbone, 400, insertions, width=setting.width, dropout=0.0, execution=execution)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            nn.init.constant_(module.weight, 0.5)  # many start at 0, which hides what stands before them
    if side == "plain":
        for block in network.blocks.values():
            block.forward = partial(FORMS["matrix"], block)  # type: ignore[method-assign]  # the other form of it
    return network


class Subject:
    """One side in its own process, ready to be timed.

    Args:
        side: Which.
        setting: Of what.

    Attributes:
        peak_mib: Of the first training step, beyond weights and clips.
    """

    def __init__(self, side: Side, setting: NetworkSetting) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = setting.dtype == "tf32"
        self.device = torch.device(setting.device)
        self.half = setting.dtype == "bfloat16"
        layout = torch.channels_last_3d if side == "ours" else torch.contiguous_format
        self.network = build(side, setting).to(self.device).to(memory_format=layout)
        self.for_inference = folded(self.network) if side == "ours" else build(side, setting).to(self.device).eval()
        clip = torch.randn(setting.clips, generator=torch.Generator().manual_seed(1))
        self.clip = clip.to(self.device, memory_format=layout)
        self._step(torch.zeros(WARM_UP_SIZE, device=self.device).repeat(2, 1, 1, 1, 1))
        self.peak_mib = peak_bytes(lambda: self._step(self.clip), self.device) / MIB
        if side == "ours" and setting.keep_memory:
            keep_freed_memory()  # not before: the peak would be less by what the process already keeps

    def forward_ms(self) -> float:
        """Time of one forward for inference."""
        return call_ms(self.logits, self.device)

    def step_ms(self) -> float:
        """Time of one training step without the optimizer's, which is the same on both sides."""
        return call_ms(lambda: self._step(self.clip), self.device)

    def logits(self) -> Tensor:
        """What the network says about the clips."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits: Tensor = self.for_inference(self.clip)
        return logits.float().cpu()

    def matmul_rate(self, seconds: float) -> float:
        """Operations per second of the fastest of some square matrix products, in the dtype of the measurement.

        Args:
            seconds: Once they have passed, no larger matrices are tried.
        """
        end = time.monotonic() + seconds
        dtype = torch.bfloat16 if self.half else torch.float32
        rates = []
        for size in MATMUL_SIZES:
            square = torch.randn(size, size, device=self.device, dtype=dtype)
            rates += [2e3 * size**3 / call_ms(partial(torch.matmul, square, square), self.device) for _ in range(5)]
            if time.monotonic() > end:
                break
        return max(rates)

    def _step(self, clip: Tensor) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = self.network(clip).float().square().mean()
        loss.backward()
        self.network.zero_grad()


def flops(setting: NetworkSetting) -> int:
    """Operations of a forward of all clips: 2 for each multiply-add of convolutions, matrix products and attention."""
    with torch.device("meta"):
        network, clips = build("ours", setting).eval(), torch.empty(setting.clips)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(clips)
    return int(counter.get_total_flops())
