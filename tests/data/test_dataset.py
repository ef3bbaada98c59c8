from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from videonl.data import video
from videonl.data.augmentation import Augmentation, Color, TrainTransform
from videonl.data.batches import Failure, collate_evaluation, collate_training
from videonl.data.dataset import EvaluationVideos, TrainingClips
from videonl.data.loader import worker_options
from videonl.data.randomness import seeded
from videonl.data.reading.decoding import open_video
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import assign, class_list
from videonl.data.transforms import ClipFormat, Views, ViewTransform
from videonl.data.video import PackedVideos, Video
from videonl.errors import UserError

WHOLE = ClipFormat(num_frames=3, stride_frames=2, short_side_px=46, crop_px=46)
ReadIndices = Callable[[torch.Tensor], list[int]]


def time_first(frames: torch.Tensor, label: int) -> torch.Tensor:
    return frames.transpose(0, 1)


@pytest.fixture
def videos(video_folder: Path) -> list[Video]:
    labeled = read_source(str(video_folder))
    return assign(labeled, class_list([entry.label for entry in labeled]))


def test_numbers_are_indices_where_classes_have_no_names() -> None:
    labeled = [LabeledPath(Path(f"{label}.mp4"), label, label) for label in ("2", "0", "class 1")]
    assert [video.label for video in assign(labeled, ["class 0", "class 1", "class 2"])] == [2, 0, 1]
    with pytest.raises(UserError, match="label '3' is not one of the 3 classes"):
        assign([LabeledPath(Path("a.mp4"), "3", "list:1")], ["class 0", "class 1", "class 2"])
    with pytest.raises(UserError, match="label '0' is not one of the 2 classes"):  # names go before numbers
        assign(labeled[1:2], ["run", "walk"])


def broken(tmp_path: Path, name: str = "broken.mp4") -> Video:
    (tmp_path / name).write_bytes(b"no video")
    return Video(tmp_path / name, 1)


def test_a_training_clip_shows_the_frames_drawn(videos: list[Video], read_indices: ReadIndices) -> None:
    data = TrainingClips(videos, WHOLE, time_first)
    starts = set()
    for epoch in range(30):
        item = data[epoch, 0]
        first, *rest = read_indices(item["clip"][0])
        assert rest == [first + 2, first + 4]
        starts.add(first)
    assert starts <= set(range(9))
    assert len(starts) > 5
    assert read_indices(data[0, 6]["clip"][0]) == [0, 0, 0]  # a video of one frame


def test_an_item_is_a_function_of_seed_epoch_and_index_alone(videos: list[Video]) -> None:
    clip_format = ClipFormat(num_frames=3, stride_frames=1, short_side_px=29, crop_px=23)
    augmentation = Augmentation(short_side_px=(23, 37), color=Color(0.3))

    def draw(seed: int, epoch: int, index: int) -> torch.Tensor:
        data = TrainingClips(videos, clip_format, TrainTransform(clip_format, augmentation), seed=seed)
        return data[epoch, index]["clip"]

    torch.manual_seed(1)
    first = draw(0, 1, 2)
    torch.manual_seed(2)
    draw(0, 0, 0)
    assert torch.equal(draw(0, 1, 2), first)
    assert not torch.equal(draw(1, 1, 2), first)
    assert not torch.equal(draw(0, 2, 2), first)


def test_channels_stay_innermost(videos: list[Video]) -> None:
    form = ClipFormat(num_frames=3, stride_frames=1, short_side_px=29, crop_px=23)
    for clips_per_video in (1, 3):
        transform = TrainTransform(form, Augmentation(short_side_px=(23, 37)))
        data = TrainingClips(videos, form, transform, clips_per_video=clips_per_video)
        for index in range(len(videos)):
            assert data[0, index]["clip"].is_contiguous(memory_format=torch.channels_last_3d)
    item = EvaluationVideos(videos, form, Views(num_clips=2, num_crops=3))[0]
    assert item["clip"].is_contiguous(memory_format=torch.channels_last_3d)


def test_drawing_leaves_the_global_generator_alone(videos: list[Video]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    TrainingClips(videos, WHOLE, time_first)[0, 0]
    assert torch.equal(torch.rand(3), expected)


def test_the_hash_of_the_key_is_the_documented_one() -> None:
    with seeded(3, 1, 2):
        drawn = torch.randint(1_000_000, (3,)).tolist()
    with seeded(3, 1, 2):
        assert torch.randint(1_000_000, (3,)).tolist() == drawn
    with seeded(1, 3, 2):
        assert torch.randint(1_000_000, (3,)).tolist() != drawn


def test_a_broken_video_is_replaced_by_the_next(tmp_path: Path, videos: list[Video]) -> None:
    missing = Video(tmp_path / "gone.mp4", 0)
    data = TrainingClips([*videos[:2], broken(tmp_path), missing], WHOLE, time_first)
    item = data[0, 2]
    assert item["label"] == videos[0].label
    assert [failure.path for failure in item["failures"]] == [str(tmp_path / "broken.mp4"), str(tmp_path / "gone.mp4")]
    assert item["failures"][1].reason == "no such file"
    assert torch.equal(data[0, 2]["clip"], item["clip"])


@pytest.mark.parametrize(("num_videos", "num_tries"), [(3, 3), (17, 10)])
def test_only_broken_videos_are_listed(tmp_path: Path, num_videos: int, num_tries: int) -> None:
    data = TrainingClips([broken(tmp_path, f"{i}.mp4") for i in range(num_videos)], WHOLE, time_first)
    with pytest.raises(UserError, match=f"none of {num_tries} videos") as caught:
        data[0, 1]
    assert str(caught.value).count(".mp4:") == num_tries


def test_evaluation_takes_all_views_of_a_video(videos: list[Video], read_indices: ReadIndices) -> None:
    item = EvaluationVideos(videos, WHOLE, Views(num_clips=3, num_crops=1))[0]  # 13 frames: starts 0, 4, 8
    assert "clip" in item
    assert item["clip"].shape == (3, 3, 3, 46, 46)
    assert (item["video"], item["label"], item["path"]) == (0, 0, str(videos[0].path))


def test_views_are_clip_by_clip_and_crop_by_crop(videos: list[Video]) -> None:
    clip_format = ClipFormat(num_frames=3, stride_frames=2, short_side_px=46, crop_px=31)
    data = EvaluationVideos(videos, clip_format, Views(num_clips=2, num_crops=3))
    item = data[3]
    assert "clip" in item
    assert item["clip"].shape == (6, 3, 3, 31, 31)
    assert item["view"] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    one_crop = EvaluationVideos(videos, clip_format, Views(num_clips=2, num_crops=1))[3]
    assert "clip" in one_crop
    assert torch.equal(item["clip"][[1, 4]], one_crop["clip"])


def test_each_view_shows_its_frames(video_folder: Path, read_indices: ReadIndices) -> None:
    square = ClipFormat(num_frames=3, stride_frames=2, short_side_px=46, crop_px=46)
    data = EvaluationVideos([Video(video_folder / "a" / "clip_0.mp4", 0)], square, Views(num_clips=3))
    whole = EvaluationVideos([Video(video_folder / "a" / "clip_0.mp4", 0)], square, Views(num_clips=13 - 4))
    some, every = data[0], whole[0]
    assert "clip" in some
    assert "clip" in every
    assert torch.equal(some["clip"], every["clip"][[0, 4, 8]])
    # The bar code is cut at the sides, but its lowest bits are in the middle of what is left: frames differ in them.
    assert len({bytes(clip.numpy().tobytes()) for clip in every["clip"]}) == 9


def test_evaluation_draws_nothing(videos: list[Video]) -> None:
    data = EvaluationVideos(videos, ClipFormat(3, 2, short_side_px=37, crop_px=31), Views(num_clips=2))
    torch.manual_seed(1)
    first = data[1]
    torch.manual_seed(2)
    second = data[1]
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(2)))
    assert "clip" in first
    assert "clip" in second
    assert torch.equal(first["clip"], second["clip"])


def test_a_broken_video_is_reported_in_evaluation(tmp_path: Path) -> None:
    item = EvaluationVideos([Video(tmp_path / "gone.mp4", 0)], WHOLE, Views())[0]
    assert item == {"failures": [Failure(str(tmp_path / "gone.mp4"), "no such file")]}


class Counted(PackedVideos):
    """Notes in a file, which all processes share, whenever a video is unpickled."""

    def __init__(self, videos: list[Video], notes: Path) -> None:
        super().__init__(videos)
        self.notes = notes

    def __getitem__(self, place: Any) -> Any:
        with self.notes.open("a") as notes:
            notes.write(f"{place}\n")
        return super().__getitem__(place)


@pytest.mark.parametrize("limit", [None, 60])
def test_a_video_is_unpickled_once_for_its_clips(videos: list[Video], tmp_path: Path, limit: float | None) -> None:
    counted = Counted(videos, tmp_path / "notes")
    training = TrainingClips(counted, WHOLE, time_first, clips_per_video=3, time_limit_seconds=limit)
    evaluation = EvaluationVideos(counted, WHOLE, Views(num_clips=2), time_limit_seconds=limit)
    drawn = next(iter(DataLoader(training, sampler=[(2, 5)], batch_size=None, **worker_options(1))))
    (read,) = DataLoader(evaluation, sampler=[3], batch_size=None, **worker_options(1))
    assert (tmp_path / "notes").read_text().split() == ["5", "3"]
    assert torch.equal(drawn["clip"], TrainingClips(videos, WHOLE, time_first, clips_per_video=3)[2, 5]["clip"])
    assert torch.equal(read["clip"], EvaluationVideos(videos, WHOLE, Views(num_clips=2))[3]["clip"])


def test_collate_training_puts_second_clips_after_all_first_ones() -> None:
    def clips(*levels: int) -> torch.Tensor:
        return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1, 1).expand(-1, 3, 2, 5, 7)

    failure = Failure("x.mp4", "broken")
    batch = collate_training(
        [
            {"clip": clips(1, 2), "video": 17, "label": 4, "failures": []},
            {"clip": clips(3, 4), "video": 19, "label": 6, "failures": [failure]},
        ]
    )
    assert batch["clip"].shape == (4, 3, 2, 5, 7)
    assert batch["clip"].is_contiguous(memory_format=torch.channels_last_3d)
    assert batch["clip"][:, 0, 0, 0, 0].tolist() == [1, 3, 2, 4]
    assert batch["video"] == [17, 19, 17, 19]
    assert batch["label"].tolist() == [4, 6, 4, 6]
    assert batch["label"].dtype == torch.int64
    assert batch["failures"] == [failure]


def test_several_clips_come_from_one_decoding(
    videos: list[Video], read_indices: ReadIndices, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(video, "open_video", lambda *words: opened.append(words) or open_video(*words))
    data = TrainingClips(videos, WHOLE, time_first, clips_per_video=5)
    item = data[0, 5]
    assert len(opened) == 1
    starts = [read_indices(clip)[0] for clip in item["clip"]]
    assert [read_indices(clip) for clip in item["clip"]] == [[start, start + 2, start + 4] for start in starts]
    assert len(set(starts)) > 1
    assert torch.equal(item["clip"][:1], TrainingClips(videos, WHOLE, time_first)[0, 5]["clip"])


def test_views_of_a_video_come_from_one_decoding(videos: list[Video], monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def opening(*words: object) -> object:
        reader = open_video(*words)
        read = reader.read
        monkeypatch.setattr(reader, "read", lambda indices: reads.append(list(indices)) or read(indices))
        return reader

    monkeypatch.setattr(video, "open_video", opening)
    small = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
    item = EvaluationVideos(videos, small, Views(num_clips=10, num_crops=3))[5]
    assert item["clip"].shape == (30, 3, 3, 23, 23)
    (indices,) = reads
    assert len(set(indices)) == len(indices)  # and each frame once


@pytest.mark.parametrize(("sampling", "varies"), [("uniform", False), ("segment", True)])
def test_the_clip_format_says_which_frames_are_shown(
    videos: list[Video], read_indices: ReadIndices, sampling: str, varies: bool
) -> None:
    form = replace(WHOLE, sampling=sampling)
    drawn = {tuple(read_indices(TrainingClips(videos, form, time_first)[epoch, 5]["clip"][0])) for epoch in range(9)}
    assert (len(drawn) > 1) == varies
    assert varies or drawn == {(5, 15, 25)}  # of 31
    with open_video(videos[5].path) as reader:
        frames = reader.read([5, 15, 25]).permute(0, 3, 1, 2)
    expected = ViewTransform(form, Views())(frames, [[0, 1, 2]])
    assert torch.equal(EvaluationVideos(videos, form, Views())[5]["clip"], expected)


def test_collate_evaluation_repeats_what_belongs_to_a_video() -> None:
    failure = Failure("x.mp4", "broken")
    a, b = {"video": 11, "label": 4, "path": "a"}, {"video": 13, "label": 6, "path": "b"}
    batch = collate_evaluation(
        [
            {"clip": torch.zeros(2, 3, 1, 5, 7, dtype=torch.uint8), "view": [(0, 0), (0, 1)], **a},
            {"failures": [failure]},
            {"clip": torch.ones(3, 3, 1, 5, 7, dtype=torch.uint8), "view": [(0, 0), (1, 0), (2, 0)], **b},
        ]
    )
    assert batch["clip"].shape == (5, 3, 1, 5, 7)
    assert batch["view"].tolist() == [[0, 0], [0, 1], [0, 0], [1, 0], [2, 0]]
    assert batch["video"].tolist() == [11, 11, 13, 13, 13]
    assert batch["label"].tolist() == [4, 4, 6, 6, 6]
    assert batch["path"] == ["a", "a", "b", "b", "b"]
    assert batch["failures"] == [failure]


def test_collate_evaluation_of_failures_alone() -> None:
    batch = collate_evaluation([{"failures": [Failure("x.mp4", "broken")]}])
    assert len(batch["clip"]) == len(batch["video"]) == len(batch["label"]) == len(batch["path"]) == 0
    assert batch["view"].shape == (0, 2)
    assert (batch["clip"].dtype, batch["video"].dtype, batch["clip"].ndim) == (torch.uint8, torch.int64, 5)
