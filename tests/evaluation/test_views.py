"""One score per video: views are averaged, nothing is lost, and processes agree."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from torch import Tensor

from videonl.errors import UserError
from videonl.evaluation import Average, EvaluationRecord, VideoScore, VideoScores, stack, write_record

ROOT = Path(__file__).resolve().parents[2]
NUM_CLASSES = 7


def views(videos: list[int], num_views: int, seed: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, list[str]]:
    """Logits that depend on the video and the view alone, as an evaluation batch has them: clips of one crop."""
    logits, video = [], []
    for index in videos:
        generator = torch.Generator().manual_seed(1000 * seed + index)
        logits.append(3 * torch.randn(num_views, NUM_CLASSES, generator=generator))
        video += [index] * num_views
    view = torch.tensor([[clip, 0] for clip in range(num_views)]).repeat(len(videos), 1)
    return torch.cat(logits), view, torch.tensor(video), torch.tensor(video) % NUM_CLASSES, [f"{v}.mp4" for v in video]


def collected(batches: list[list[int]], num_views: int = 3) -> VideoScores:
    scores = VideoScores()
    for videos in batches:
        scores.update(*views(videos, num_views))
    return scores


def plain(scores: list[VideoScore]) -> list[tuple[int, str, int, list[float]]]:
    return [(score.video, score.path, score.label, score.probabilities.tolist()) for score in scores]


def as_process_of(monkeypatch: pytest.MonkeyPatch, parts: list[VideoScores]) -> None:
    """Let every process see what these processes hold: first how many, then which."""
    held = [list(part._scores.values()) for part in parts]
    answers = iter(2 * [[len(scores) for scores in held], held])

    def all_gather_object(gathered: list[object], own: object) -> None:
        gathered[:] = next(answers)
        assert own in gathered

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: len(parts))
    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather_object)


def test_probabilities_and_not_logits_are_averaged() -> None:
    scores = VideoScores()
    # Softmax of (0, ln 3) is (1/4, 3/4), of (ln 9, 0) is (9/10, 1/10).
    logits = torch.tensor([[0.0, 3.0], [9.0, 1.0]]).clamp(min=1.0).log()
    scores.update(logits, torch.tensor([[0, 0], [1, 0]]), torch.tensor([5, 5]), torch.tensor([1, 1]), 2 * ["a.mp4"])
    (score,) = scores.gather()
    assert (score.video, score.path, score.label) == (5, "a.mp4", 1)
    assert score.probabilities.dtype == torch.float64
    assert score.probabilities.tolist() == pytest.approx([(1 / 4 + 9 / 10) / 2, (3 / 4 + 1 / 10) / 2], abs=1e-7)


def test_logits_may_be_averaged_instead() -> None:
    logits = torch.tensor([[0.0, 3.0], [5.0, 1.0]])
    scores = VideoScores("logits")
    scores.update(logits, torch.tensor([[0, 0], [1, 0]]), torch.tensor([5, 5]), torch.tensor([1, 1]), 2 * ["a.mp4"])
    (score,) = scores.gather()
    first = 1 / (1 + math.exp(2.0 - 2.5))  # the means are 2.5 and 2
    assert score.probabilities.tolist() == pytest.approx([first, 1 - first], abs=1e-12)
    assert score.prediction == 0


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(UserError, match=r"'median'; choose one of softmax, logits"):
        VideoScores("median")


def test_interleaved_views_find_their_video() -> None:
    logits, view, video, label, path = views([2, 11, 5], num_views=3)
    shuffle = torch.tensor([4, 0, 8, 2, 6, 3, 7, 1, 5])
    shuffled, ordered = VideoScores(), collected([[2, 11, 5]])
    rest = (part[shuffle] for part in (logits, view, video, label))
    shuffled.update(*rest, [path[i] for i in shuffle.tolist()])
    for one, other in zip(shuffled.gather(), ordered.gather(), strict=True):
        assert (one.video, one.path, one.label, one.views) == (other.video, other.path, other.label, other.views)
        assert one.views == ((0, 0), (1, 0), (2, 0))
        assert torch.equal(one.logits, other.logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_scores_of_any_precision_are_distributions(dtype: torch.dtype) -> None:
    scores = VideoScores()
    logits, *rest = views([3], num_views=5)
    scores.update((100 * logits).to(dtype).requires_grad_(), *rest)
    (score,) = scores.gather()
    assert score.probabilities.sum().item() == pytest.approx(1, abs=1e-12)
    assert not score.probabilities.requires_grad


def test_batches_do_not_change_the_scores() -> None:
    assert plain(collected([[0, 1], [2], [3, 4, 5, 6]]).gather()) == plain(collected([[0, 1, 2, 3, 4, 5, 6]]).gather())


def test_videos_come_in_the_order_of_the_data_set() -> None:
    assert [score.video for score in collected([[11, 3], [7, 0], [5]]).gather()] == [0, 3, 5, 7, 11]


def test_two_parts_give_the_whole_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plain(collected([list(range(7))]).gather())
    parts = [collected([[0, 2], [4, 6]]), collected([[1, 3], [5]])]
    as_process_of(monkeypatch, parts)
    assert plain(parts[0].gather()) == plain(parts[1].gather()) == whole


def test_a_video_scored_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samplers may pad the last round of processes with videos that another one has too."""
    parts = [collected([[0, 2]]), collected([[1, 0]])]
    as_process_of(monkeypatch, parts)
    assert [score.video for score in parts[0].gather()] == [0, 1, 2]


def test_a_process_without_videos_gets_the_scores_too(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [collected([[0, 1]]), VideoScores()]
    whole = plain(parts[0].gather())
    as_process_of(monkeypatch, parts)
    assert plain(parts[1].gather()) == whole


def test_no_videos_give_no_scores() -> None:
    assert VideoScores().gather() == []


def test_stack_keeps_rows_together() -> None:
    scores = collected([[3, 5]]).gather()
    probabilities, labels = stack(scores)
    assert probabilities.shape == (2, NUM_CLASSES)
    assert torch.equal(probabilities[1], scores[1].probabilities)
    assert labels.tolist() == [3, 5]


PROCESSES = """
import json, os, sys
from pathlib import Path
import torch, torch.distributed as dist
from videonl.evaluation import EvaluationRecord, VideoScores, write_record
from videonl.runtime.parallel import end_with_parent

world_size, folder = int(sys.argv[1]), Path(sys.argv[2])
children = []  # what was imported above serves all of them
for rank in range(world_size):
    children.append(os.fork())
    if not children[-1]:
        break
else:
    codes = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(codes))
end_with_parent()
dist.init_process_group("gloo", init_method=(folder / "rendezvous").as_uri(), rank=rank, world_size=world_size)
for average, shares in json.loads(sys.argv[3]).items():
    scores = VideoScores(average)
    for *tensors, path in shares[rank]:
        scores.update(*map(torch.tensor, tensors), path)
    scores.skip({f"unreadable by {rank}.mp4": "empty"})
    record = EvaluationRecord([f"class {i}" for i in range(7)], scores.gather())
    write_record(folder / f"{average}_{rank}.parquet", record)
    assert list(scores.gather_unreadable()) == [f"unreadable by {i}.mp4" for i in range(world_size)]
dist.destroy_process_group()
"""


def several(batch: tuple[Tensor, Tensor, Tensor, Tensor, list[str]]) -> tuple[Any, ...]:
    """The same batch with several labels a video, none for video 0, and unknown ones for video 3."""
    logits, view, video, _, path = batch
    label = (torch.arange(NUM_CLASSES) < video[:, None]).float()
    label[video == 3] = -1
    return logits, view, video, label, path


@pytest.mark.parametrize("world_size", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_real_processes_hold_the_same_record_as_one(tmp_path: Path, world_size: int) -> None:
    given: dict[Average, list[Any]] = {  # a change of the batches to several labels for the average of several
        average: [change(views(videos, num_views=3)) for videos in ([0, 4], [2], [3, 1], [5])]
        for average, change in (("softmax", tuple), ("max", several))
    }
    plain_batches = {
        average: [[part.tolist() if isinstance(part, Tensor) else part for part in batch] for batch in batches]
        for average, batches in given.items()
    }
    shares = {
        average: [batches[rank::world_size] for rank in range(world_size)] for average, batches in plain_batches.items()
    }
    words = [str(world_size), str(tmp_path), json.dumps(shares)]
    subprocess.run([sys.executable, "-c", PROCESSES, *words], cwd=ROOT, timeout=120, check=True)
    for average, batches in given.items():
        scores = VideoScores(average)
        for batch in batches:
            scores.update(*batch)
        alone = EvaluationRecord([f"class {index}" for index in range(NUM_CLASSES)], scores.gather())
        write_record(tmp_path / "alone.parquet", alone)
        for rank in range(world_size):
            assert (tmp_path / f"{average}_{rank}.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
