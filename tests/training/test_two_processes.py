"""Two real processes over gloo: rate, frozen backbone and precise statistics are those of all clips together."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def results(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process ends with."""
    out = tmp_path_factory.mktemp("out")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    ended = subprocess.run(
        [sys.executable, SCRIPT, video_folder, out],
        env=os.environ | meeting | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("the group is left: True") == 2
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_rate_is_that_of_the_clips_of_a_step(results: list[dict[str, Any]]) -> None:
    for result in results:
        # 1 clip x 2 processes x 2 batches are a quarter of 16 clips; 7 videos are 3 batches each, in 2 epochs.
        assert result["rates"] == pytest.approx([0.1] * 6)


def test_both_end_with_the_same_network(results: list[dict[str, Any]]) -> None:
    one, two = results
    assert all(torch.equal(value, two["state"][name]) for name, value in one["state"].items())
    assert torch.equal(one["first"], two["first"])
    assert not torch.equal(one["first"], one["state"]["0.weight"])  # frozen in the first epoch, not in the second


def test_statistics_are_those_of_the_clips_of_both(results: list[dict[str, Any]], video_folder: Path) -> None:
    data = ClipDataModule(
        str(video_folder),
        clip=ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23),
        augmentation=Augmentation(short_side_px=(23, 37)),
        loading=Loading(batch_size=2, num_workers=0),
    )
    loader = data.training_loader()
    loader.set_epoch(1)
    clips = torch.cat([batch["clip"] for batch in loader]).double()
    assert len(clips) == 6
    state = results[0]["state"]
    given = F.conv3d((clips / 255 - 0.45) / 0.225, state["0.weight"].double(), state["0.bias"].double())
    channels = given.transpose(0, 1).flatten(1)
    torch.testing.assert_close(state["1.running_mean"].double(), channels.mean(dim=1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["1.running_var"].double(), channels.var(dim=1), rtol=1e-5, atol=1e-6)
