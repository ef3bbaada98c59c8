"""Two real processes train, step for step, on the clips that one process with twice the batch does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
Step = dict[int, tuple[bytes, list[float] | int]]  # the clip and the target of each video


def epochs(folder: str, batch_size: int, task: str = "single_label") -> list[list[Step]]:
    loading = Loading(batch_size=batch_size, num_workers=0, seed=5)
    loader = ClipDataModule(train=folder, clip=CLIP, loading=loading, task=task).train_dataloader()
    sampler: Any = loader.sampler
    found = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        found.append([steps_clips(batch) for batch in loader])
    return found


def steps_clips(batch: Any) -> Step:
    each = zip(batch["video"], batch["clip"].contiguous(), batch["label"].tolist(), strict=True)
    return {video: (clip.numpy().tobytes(), target) for video, clip, target in each}


def _load(rank: int, folder: str, results: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{results}/rendezvous", rank=rank, world_size=2)
    torch.save(epochs(folder, batch_size=1), f"{results}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("source", ["video_folder", "segments", "several_labels"])
def test_ranks_see_the_clips_of_one(
    source: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = "multi_label" if source == "several_labels" else "single_label"
    videos: Path = request.getfixturevalue(source)
    alone = epochs(str(videos), 2, task)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    both = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        both.append(epochs(str(videos), 1, task))
    require_same(alone, both)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_see_the_clips_of_one(video_folder: Path, tmp_path: Path) -> None:
    multiprocessing.start_processes(_load, (str(video_folder), str(tmp_path)), nprocs=2, start_method="spawn")
    both = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]
    require_same(epochs(str(video_folder), batch_size=2), both)


def require_same(alone: list[list[Step]], both: list[list[list[Step]]]) -> None:
    for epoch, steps in enumerate(alone):
        assert [first | second for first, second in zip(both[0][epoch], both[1][epoch], strict=True)] == steps
        assert all(not first.keys() & second.keys() for first, second in zip(*(b[epoch] for b in both), strict=True))
    assert alone[0] != alone[1]
