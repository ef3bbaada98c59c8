"""Predicted memory: against sums by hand, and against what a process really takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from videonl.blocks import NonLocal
from videonl.models import ClipClassifier, Insertion
from videonl.profiling import training_memory

# A step on tiny clips first, so that gradients and momentum exist and libraries are loaded. Small freed blocks are to
# go back to the system, or resident memory would be what malloc keeps.
MEASURE = """
import torch
from videonl.benchmarks.memory import _status
from videonl.models import ClipClassifier, Insertion
network = ClipClassifier("i3d_r50", 11, [Insertion("nonlocal", {"res3": [1, 3]})], width=16)
for size in ((4, 32, 32), (8, 64, 64)):
    before = _status("VmRSS")
    logits = network(torch.randn(8, 3, *size))
    after = _status("VmRSS")
    logits.sum().backward()
    del logits
print(after - before)
"""


def test_what_a_chain_keeps_is_what_its_gradients_need() -> None:
    """A convolution keeps its input, batch norm its input and two statistics, ReLU its output, the mean nothing."""
    chain = nn.Sequential(nn.Conv3d(3, 5, 1, bias=False), nn.BatchNorm3d(5), nn.ReLU(), nn.AdaptiveAvgPool3d(1))
    n = 4 * 7 * 9
    memory = training_memory(chain, (4, 7, 9), num_states=2)
    # The mean of the whole grid is a sum over the ReLU's output, which is already kept.
    assert memory.per_clip == 4 * (3 * n + 5 * n + 5 * n)
    assert memory.gradients == 4 * (15 + 10) and memory.optimizer == 2 * memory.gradients
    # 10 running statistics, a counter of 8 bytes; and of every forward 10 of the batch.
    assert memory.weights == 4 * (25 + 10) + 8 + 4 * 10
    assert memory.of_batch(7) == memory.weights + 3 * memory.gradients + 7 * memory.per_clip


def test_frozen_weights_have_no_gradients() -> None:
    network = nn.Sequential(nn.Conv3d(3, 5, 1), nn.Conv3d(5, 7, 1))
    network[0].requires_grad_(False)
    memory = training_memory(network, (2, 3, 5))
    assert memory.gradients == 4 * 42
    assert memory.per_clip == 4 * 5 * 30  # the clip is not kept: nothing before it learns


def test_attention_keeps_no_matrix_of_queries_by_keys() -> None:
    network = nn.Sequential(nn.Conv3d(3, 8, 1), NonLocal(8))
    # 8192 queries by 2048 keys would be 2048 numbers for each position.
    assert training_memory(network, (8, 32, 32)).per_clip < 8192 * 4 * 100


def test_mixed_precision_keeps_less() -> None:
    with torch.device("meta"):
        network = ClipClassifier("i3d_r50", 400, [Insertion("nonlocal", {"res3": [1]})])
    full, mixed = (training_memory(network, (8, 112, 112), autocast=dtype) for dtype in (None, torch.bfloat16))
    assert 0.5 < mixed.per_clip / full.per_clip < 0.75
    assert mixed.gradients == full.gradients
    assert network.training


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_process_grows_by_what_is_predicted() -> None:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    with torch.device("meta"):
        network = ClipClassifier("i3d_r50", 11, [Insertion("nonlocal", {"res3": [1, 3]})], width=16)
    memory = training_memory(network, (8, 64, 64), memory_format=torch.contiguous_format)
    assert 8 * memory.per_clip == pytest.approx(int(run.stdout), rel=0.1)
