import pytest
import torch

from videonl.data.sampling import (
    SAMPLINGS,
    clip_span,
    even_clips,
    even_clips_in_time,
    random_clip,
    random_clip_in_time,
)


def test_span_counts_first_and_last() -> None:
    assert clip_span(num_frames=3, stride_frames=5) == 11
    assert clip_span(num_frames=1, stride_frames=5) == 1


def test_random_clips_take_every_start_that_fits_and_no_other() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [random_clip(13, num_frames=3, stride_frames=5, generator=generator) for _ in range(100)]
    assert {tuple(clip) for clip in clips} == {(0, 5, 10), (1, 6, 11), (2, 7, 12)}


def test_random_clip_follows_the_global_generator_without_one() -> None:
    torch.manual_seed(3)
    first = random_clip(1009, 3, 2)
    torch.manual_seed(3)
    assert random_clip(1009, 3, 2) == first


@pytest.mark.parametrize(
    ("num_clips", "starts"), [(1, [3]), (2, [0, 7]), (3, [0, 3, 7]), (5, [0, 1, 3, 5, 7]), (8, list(range(8)))]
)
def test_even_clips_reach_from_the_first_to_the_last_start(num_clips: int, starts: list[int]) -> None:
    clips = even_clips(12, num_frames=3, stride_frames=2, num_clips=num_clips)
    assert clips == [[start, start + 2, start + 4] for start in starts]


@pytest.mark.parametrize(("video_num_frames", "expected"), [(1, [0, 0, 0]), (4, [0, 3, 3]), (7, [0, 3, 6])])
def test_short_videos_repeat_their_last_frame(video_num_frames: int, expected: list[int]) -> None:
    assert random_clip(video_num_frames, 3, 3) == expected
    assert even_clips(video_num_frames, 3, 3, num_clips=2) == [expected, expected]


def test_clips_in_time_take_the_frames_on_screen() -> None:
    times = torch.tensor([0.0, 0.5, 0.6, 0.7, 2.0, 3.0], dtype=torch.float64)
    assert even_clips_in_time(times, num_frames=3, stride_seconds=0.65, num_clips=2) == [[0, 2, 3], [3, 4, 5]]
    assert even_clips_in_time(times, num_frames=2, stride_seconds=9.0, num_clips=1) == [[0, 5]]


def test_at_an_even_rate_clips_in_time_are_those_in_frames() -> None:
    times = torch.arange(41, dtype=torch.float64) / 30
    assert even_clips_in_time(times, 5, 4 / 30, num_clips=3) == even_clips(41, 5, 4, num_clips=3)


def test_random_clips_in_time_stay_within_the_video() -> None:
    times = torch.arange(41, dtype=torch.float64) / 30
    clips = [random_clip_in_time(times, 5, 0.2, torch.Generator().manual_seed(seed)) for seed in range(50)]
    assert {clip[0] for clip in clips} > {0, 5, 10}
    assert all(0 <= clip[0] <= clip[-1] <= 40 for clip in clips)


def test_uniform_frames_are_the_middles_of_equal_segments() -> None:
    assert random_clip(21, 3, 8, "uniform") == [3, 10, 17]
    assert even_clips(21, 3, 8, 1, "uniform") == [[3, 10, 17]]
    assert even_clips(21, 3, 8, 7, "uniform") == [[start, start + 7, start + 14] for start in range(7)]


def test_segments_give_any_of_their_frames_each() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [random_clip(21, 3, 8, "segment", generator) for _ in range(200)]
    assert [set(frames) for frames in zip(*clips, strict=True)] == [set(range(i, i + 7)) for i in (0, 7, 14)]
    assert even_clips(21, 3, 8, 7, "segment") == even_clips(21, 3, 8, 7, "uniform")


def test_random_frames_come_from_anywhere_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [random_clip(11, 3, 8, "random", generator) for _ in range(300)]
    assert all(clip == sorted(clip) for clip in clips)
    assert set().union(*clips) == set(range(11))
    assert max(clip[-1] - clip[0] for clip in clips) == 10


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("video_num_frames", [1, 2, 3, 29])
def test_every_sampling_gives_a_whole_clip_of_any_video(sampling: str, video_num_frames: int) -> None:
    clips = [random_clip(video_num_frames, 5, 3, sampling), *even_clips(video_num_frames, 5, 3, 7, sampling)]
    assert len(clips) == 8
    for clip in clips:
        assert len(clip) == 5
        assert clip == sorted(clip)
        assert 0 <= clip[0] <= clip[-1] < video_num_frames
