"""The shapes of a multigrid training, against the published schedule and counts done by hand."""

import math
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed

from videonl.data.augmentation import Augmentation, TrainTransform
from videonl.data.balance import balanced_order
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.multigrid import Grid, Multigrid
from videonl.data.multigrid_schedule import MultigridSchedule
from videonl.data.samplers import Draw, MultigridBatches, TrainingSampler
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError

# PySlowFast's SLOWFAST_8x8_R50_stepwise_multigrid: 239 epochs, rates change after 94, 154 and 196 of them.
CLIP = ClipFormat(num_frames=32, stride_frames=2)
STAGES, NUM_EPOCHS = (0, 94, 154, 196), 239
PAPER = Multigrid(cycle_ends=tuple(end / NUM_EPOCHS for end in STAGES[1:]))


def sizes(shapes: Any) -> list[tuple[int, int, int]]:
    return [(shape.factor, shape.grid.num_frames, shape.grid.crop_px) for shape in shapes]


def test_the_shapes_are_the_paper_s() -> None:
    cycle = [
        [(16, 8, 112), (8, 8, 158), (8, 8, 158)],  # 8B x T/4 x H/sqrt2, in turn with H/2
        [(8, 16, 112), (4, 16, 158), (4, 16, 158)],  # 4B x T/2 x H/sqrt2
        [(8, 16, 112), (4, 16, 158), (2, 16, 224)],  # 2B x T/2 x H
        [(4, 32, 112), (2, 32, 158), (1, 32, 224)],  # B x T x H
    ]
    phases = PAPER.phases(CLIP)
    assert [sizes(phase.shapes) for phase in phases] == [*cycle, *cycle, *cycle, [(1, 32, 224)]]
    # Norms: over as many clips as a full-size batch, more in the short cycle alone.
    assert [[shape.factor // shape.num_parts for shape in phase.shapes] for phase in phases[:4]] == [
        [2, 1, 1],
        [2, 1, 1],
        [4, 2, 1],
        [4, 2, 1],
    ]
    for phase in phases:
        for factor, frames, px in sizes(phase.shapes):
            assert factor * frames * px**2 == pytest.approx(32 * 224**2, rel=0.01)


def test_the_schedule_is_the_published_one() -> None:
    """Each rate has a long cycle of shapes with equally many steps, which see the videos these shares of all times."""
    steps = 239_000
    schedule = MultigridSchedule(PAPER, CLIP, steps, 1000)
    bounds = [*schedule.starts, steps]
    seen = [schedule.factors_before(end) - schedule.factors_before(start) for start, end in pairwise(bounds)]
    factors = [32 / 3, 16 / 3, 14 / 3, 7 / 3]  # the mean of each short cycle
    by_hand = [(end - start) / 4 * factor * 1000 for start, end in pairwise(STAGES) for factor in factors] + [43_000]
    assert seen == pytest.approx(by_hand, rel=1e-3)
    assert [round(100 * count / sum(seen[:-1])) for count in seen[:4]] == [22, 11, 10, 5]
    assert [schedule.rate(step) for step in bounds[:5]] == [8, 4, 2, 1, 8]
    assert schedule.rate(steps - 1) == 1


def test_clips_before_a_step_are_those_of_all_steps_before() -> None:
    schedule = MultigridSchedule(Multigrid(cycle_ends=(0.3, 0.71)), CLIP, 97, 11)
    total = 0
    for step in range(120):  # beyond the end, too: what workers load ahead
        assert schedule.factors_before(step) == total
        total += schedule.shape(step).factor
    assert schedule.shape(110) == (1, 1, Grid(32, 224))


def test_the_rate_follows_the_power() -> None:
    schedule = MultigridSchedule(Multigrid(cycle_ends=(0.5,), rate_power=0.5), CLIP, 80, 8)
    assert [schedule.rate(step) for step in (0, 10, 20, 30, 40)] == [math.sqrt(8), 2, math.sqrt(2), 1, 1]


def test_too_few_steps_leave_phases_out() -> None:
    schedule = MultigridSchedule(PAPER, CLIP, 1, 1)
    assert schedule.shape(0).factor in (1, 2, 4, 8, 16)
    assert schedule.factors_before(0) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cycle_ends": (0.8, 0.2)}, r"cycle_ends must ascend.*\[0.8, 0.2\]"),
        ({"cycle_ends": (0.5, 0.5)}, "cycle_ends must ascend"),
        ({"cycle_ends": (1.0,)}, "cycle_ends must ascend, above 0 and below 1"),
        ({"cycle_ends": (float("nan"),)}, "cycle_ends must ascend"),
        ({"long_cycle": ()}, "long_cycle must have pairs"),
        ({"long_cycle": ((0.5, 1.5),)}, "long_cycle must have fractions above 0 and at most 1, got 1.5"),
        ({"short_cycle": (0.0,)}, "short_cycle must have fractions above 0"),
        ({"rate_power": 2}, "rate_power must be at most 1"),
    ],
)
def test_wrong_values(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Multigrid(**settings)


def test_the_stride_grows_up_to_the_span_of_a_full_clip() -> None:
    grid, form = Grid(8, 112), ClipFormat(num_frames=32, stride_frames=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        strides = {grid.drawn(form).stride_frames for _ in range(300)}
        assert strides == {2, 3, 4, 5, 6, 7, 8}  # 7 gaps of 8 in a span of 63 frames, of 31 gaps of 2
        assert Grid(8, 112, keeps_span=True).drawn(form).stride_frames == 8
        assert Grid(2, 112, keeps_span=True).drawn(ClipFormat(num_frames=8, stride_frames=1)).stride_frames == 7
        assert Grid(1, 112).drawn(form).num_frames == 1
        in_time = ClipFormat(num_frames=11, stride_seconds=0.1)
        seconds = [Grid(3, 112).drawn(in_time).stride_seconds or 0 for _ in range(300)]
        assert 0.1 <= min(seconds) < 0.11 and 0.49 < max(seconds) <= 0.5
        before = torch.get_rng_state()
        assert Grid(32, 112).drawn(form) == form and torch.equal(torch.get_rng_state(), before)


def test_a_smaller_crop_shows_from_as_much_of_the_frame_to_as_many_pixels() -> None:
    assert Grid(8, 112).short_side_px(224, 256, 320) == (128, 320)
    assert Grid(8, 112, keeps_span=True).short_side_px(224, 256, 320) == (128, 160)
    assert Grid(8, 224).short_side_px(224, 256, 320) == (256, 320)
    form = ClipFormat(num_frames=3, short_side_px=29, crop_px=23)
    transform = TrainTransform(form, Augmentation(short_side_px=(29, 29), flip_probability=0))
    rows = torch.arange(58, dtype=torch.uint8)[:, None].expand(1, 3, 58, 58)
    kept = transform(rows.contiguous(), -1, Grid(3, 11, keeps_span=True))
    assert kept.shape == (3, 1, 11, 11)
    whole = transform(rows.contiguous(), -1)
    spans = [int(clip.max()) - int(clip.min()) for clip in (kept, whole)]
    assert spans[0] == pytest.approx(spans[1], abs=4)  # 23 of 29 px of 58 rows are 46 rows, seen on fewer pixels


def batches(num_videos: int, batch_size: int, settings: Multigrid, steps: int, per_epoch: int) -> MultigridBatches:
    sampler = TrainingSampler(num_videos, seed=3, batch_size=batch_size)
    return MultigridBatches(sampler, MultigridSchedule(settings, CLIP, steps, per_epoch))


def epoch(made: MultigridBatches, number: int) -> list[list[Draw]]:
    made.sampler.set_epoch(number)
    return list(made)


SHORT = Multigrid(cycle_ends=(0.5,))


def test_every_video_comes_once_in_each_pass_through_steps_and_epochs() -> None:
    made = batches(23, 2, SHORT, 44, 11)
    every = [epoch(made, number) for number in range(4)]
    assert [len(steps) for steps in every] == [11] * 4
    assert [sum(map(len, steps)) // 2 for steps in every] == [
        sum(made.schedule.shape(step).factor for step in range(first, first + 11)) for first in range(0, 44, 11)
    ]
    draws = [draw for steps in every for batch in steps for draw in batch]
    assert [draw.epoch for draw in draws] == [place // 23 for place in range(len(draws))]
    passes = Counter(draw.epoch for draw in draws)
    for number, count in passes.items():
        videos = [draw.video for draw in draws if draw.epoch == number]
        assert len(set(videos)) == count
        assert videos == TrainingSampler(23, seed=3).order(number)[:count]
    assert {draw.grid for steps in every[2:] for batch in steps for draw in batch} == {Grid(32, 224)}


def test_an_epoch_resumes_in_its_middle() -> None:
    whole, resumed = batches(23, 2, SHORT, 44, 11), batches(23, 2, SHORT, 44, 11)
    resumed.sampler.begin_at(1, num_batches=4)
    assert list(resumed) == epoch(whole, 1)[4:] and len(resumed) == 11
    assert epoch(resumed, 2) == epoch(whole, 2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_a_step_takes_the_same_videos_whatever_the_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    whole = [epoch(batches(37, 6, SHORT, 18, 6), number) for number in range(3)]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world_size)
    shards = []
    for rank in range(world_size):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        shards.append([epoch(batches(37, 6 // world_size, SHORT, 18, 6), number) for number in range(3)])
    for number in range(3):
        for step, batch in enumerate(whole[number]):
            assert sorted(draw for shard in shards for draw in shard[number][step]) == sorted(batch)


def test_balanced_orders_follow_one_another() -> None:
    labels = [0, 0, 0, 0, 0, 0, 1, 1]
    weights = torch.tensor([1.0] * 6 + [3.0] * 2)
    sampler = TrainingSampler(8, 3, 2, lambda generator: balanced_order(weights, labels, generator))
    made = MultigridBatches(sampler, MultigridSchedule(SHORT, CLIP, 8, 4))
    draws = [draw for number in range(2) for batch in epoch(made, number) for draw in batch]
    for number in range(len(draws) // 8):
        assert [labels[draw.video % 8] for draw in draws if draw.epoch == number].count(1) == 4


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("num_workers", "clips_per_video"), [(0, 1), (2, 3)])
def test_the_loader_hands_out_these_batches(video_folder: Path, num_workers: int, clips_per_video: int) -> None:
    form = ClipFormat(num_frames=4, stride_frames=2, short_side_px=29, crop_px=24)
    loading = Loading(batch_size=2 * clips_per_video, num_workers=num_workers, clips_per_video=clips_per_video)
    augmentation = Augmentation(short_side_px=(24, 37))
    data = ClipDataModule(str(video_folder), clip=form, loading=loading, augmentation=augmentation, multigrid=SHORT)
    schedule = MultigridSchedule(SHORT, form, 15, 3)
    loader = data.training_loader(schedule)
    assert len(loader) == 3
    loader.set_epoch(1)
    shapes = [batch["clip"].shape for batch in islice(loader, 3)]
    expected = [schedule.shape(step) for step in (3, 4, 5)]
    assert [(shape[0], *shape[2:]) for shape in shapes] == [
        (2 * clips_per_video * factor, grid.num_frames, grid.crop_px, grid.crop_px) for factor, _, grid in expected
    ]
    with pytest.raises(UserError, match="requires a trainer"):
        data.train_dataloader()


def test_other_shapes_cannot_resume_in_the_middle_of_an_epoch(video_folder: Path) -> None:
    form = ClipFormat(num_frames=4, stride_frames=2, short_side_px=29, crop_px=24)
    loading, augmentation = Loading(batch_size=2, num_workers=0), Augmentation(short_side_px=(24, 37))
    data = ClipDataModule(str(video_folder), clip=form, loading=loading, augmentation=augmentation, multigrid=SHORT)
    first = data.training_loader(MultigridSchedule(SHORT, form, 15, 3))
    next(iter(first))
    for other in (None, MultigridSchedule(SHORT, form, 18, 3), MultigridSchedule(PAPER, form, 15, 3)):
        with pytest.raises(UserError, match=r"middle of an epoch.*multigrid .*in 15 steps, now"):
            data.training_loader(other).load_state_dict(first.state_dict())
    data.training_loader(MultigridSchedule(SHORT, form, 15, 3)).load_state_dict(first.state_dict())
