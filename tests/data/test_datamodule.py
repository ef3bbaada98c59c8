import ctypes
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from videonl.data.augmentation import Augmentation, Color
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import PackedVideos, Video
from videonl.errors import UserError

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
AUGMENTATION = Augmentation(short_side_px=(23, 37), color=Color(0.2))


def module(video_folder: Path, num_workers: int = 0, **options: Any) -> ClipDataModule:
    options = {"train": str(video_folder), "loading": Loading(batch_size=3, num_workers=num_workers)} | options
    return ClipDataModule(clip=CLIP, augmentation=AUGMENTATION, **options)


def batches(loader: DataLoader[Any], epoch: int | None = None) -> list[dict[str, Any]]:
    if epoch is not None:
        loader.sampler.set_epoch(epoch)
    return list(loader)


def same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a["clip"], b["clip"]) and torch.equal(a["label"], b["label"]) for a, b in pairs)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_any_number_of_workers_gives_the_same_batches(video_folder: Path) -> None:
    loaders = [module(video_folder, num_workers).train_dataloader() for num_workers in (0, 1, 3)]
    first, *others = ([batches(loader, epoch) for epoch in (0, 1)] for loader in loaders)
    for other in others:
        assert same(first[0], other[0])
        assert same(first[1], other[1])
    assert not same(first[0], first[1])
    assert [batch["clip"].shape for batch in first[0]] == [(3, 3, 3, 23, 23)] * 2


def test_a_data_set_smaller_than_a_batch_still_trains(video_folder: Path) -> None:
    data = module(video_folder, loading=Loading(batch_size=11, num_workers=0))
    assert [len(batch["clip"]) for batch in data.train_dataloader()] == [7]


def test_evaluation_batches_hold_whole_videos(video_folder: Path) -> None:
    data = module(
        video_folder,
        val=str(video_folder),
        test=str(video_folder),
        test_views=Views(num_clips=2, num_crops=2),
        loading=Loading(batch_size=8, num_workers=0),
    )
    loader = data.val_dataloader()
    assert isinstance(loader, DataLoader)
    assert [batch["video"].tolist() for batch in loader] == [[0, 1, 2, 3, 4, 5, 6]]
    videos = [batch["video"].tolist() for batch in data.test_dataloader()]
    assert videos == [[0] * 4 + [1] * 4, [2] * 4 + [3] * 4, [4] * 4 + [5] * 4, [6] * 4]
    assert same(batches(data.test_dataloader()), batches(data.predict_dataloader()))
    many = module(video_folder, test=str(video_folder))  # 30 views and a batch size of 3
    assert next(iter(many.test_dataloader()))["clip"].shape == (30, 3, 3, 23, 23)


def test_whole_frames_come_one_video_at_a_time(video_folder: Path) -> None:
    whole = Views(num_clips=2, fully_convolutional=True)
    data = module(video_folder, test=str(video_folder), test_views=whole)
    found = batches(data.test_dataloader())
    assert [batch["video"].tolist() for batch in found] == [[video] * 2 for video in range(7)]
    assert all(min(batch["clip"].shape[-2:]) == CLIP.short_side_px for batch in found)


def test_classes_come_from_the_first_source_or_are_given(video_folder: Path) -> None:
    data = module(video_folder, val=str(video_folder))
    assert (data.class_names, data.num_classes, data.clip) == (["a", "b", "c"], 3, CLIP)
    assert module(video_folder, classes=["c", "b", "a", "d"]).videos["train"][0].label == 2
    assert ClipDataModule(test=str(video_folder)).class_names == ["a", "b", "c"]
    with pytest.raises(UserError, match="label 'a'"):
        ClipDataModule(val=str(video_folder), classes=["b", "c"])
    with pytest.raises(UserError, match="more than once: b"):
        module(video_folder, classes=["b", "c", "b", "a"])


def test_mistakes_show_at_construction(video_folder: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        module(video_folder, val="nowhere", root=str(video_folder.parent))
    with pytest.raises(UserError, match=r"--data\.train"):
        ClipDataModule()
    with pytest.raises(UserError, match="unknown decoder 'opencv'"):
        Loading(decoder="opencv")
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        Loading(batch_size=0)
    with pytest.raises(UserError, match="batch_size must be a multiple of clips_per_video 3, got 8"):
        Loading(clips_per_video=3)
    with pytest.raises(UserError, match="time_limit_seconds must be at least 0, got -1"):
        Loading(time_limit_seconds=-1)
    with pytest.raises(UserError, match=r"max_failed_share must be in \[0, 1\], got 1\.5"):
        Loading(max_failed_share=1.5)
    with pytest.raises(ValueError, match="short_side_px 200"):
        ClipDataModule(train=str(video_folder), augmentation=Augmentation(short_side_px=(200, 300)))
    with pytest.raises(ValueError, match="short_side_px 29, got 31"):
        module(video_folder, test_views=Views(crop_px=31))


def test_absent_splits(video_folder: Path) -> None:
    assert module(video_folder).val_dataloader() == []
    with pytest.raises(UserError, match=r"--data\.test"):
        module(video_folder).test_dataloader()
    with pytest.raises(UserError, match=r"--data\.test"):
        module(video_folder).predict_dataloader()
    with pytest.raises(UserError, match=r"--data\.train"):
        ClipDataModule(test=str(video_folder)).train_dataloader()


def test_broken_videos_come_through_workers_as_failures(tmp_path: Path, video_folder: Path) -> None:
    (tmp_path / "list.csv").write_text(f"{video_folder}/a/clip_0.mp4 0\n{tmp_path}/gone.mp4 1\n")
    source = str(tmp_path / "list.csv")
    data = module(video_folder, num_workers=1, train=source, val=source)
    (batch,) = batches(data.train_dataloader())
    assert batch["label"].tolist() == [0, 0]
    assert [failure.reason for failure in batch["failures"]] == ["no such file"]
    (batch,) = batches(data.val_dataloader())
    assert batch["video"].tolist() == [0]
    assert [failure.path for failure in batch["failures"]] == [f"{tmp_path}/gone.mp4"]


def test_several_clips_of_a_video_share_a_batch(video_folder: Path) -> None:
    data = module(video_folder, loading=Loading(batch_size=6, num_workers=0, clips_per_video=2))
    found = batches(data.train_dataloader(), epoch=1)
    order = [batch["video"] for batch in batches(module(video_folder).train_dataloader(), epoch=1)]
    assert [batch["video"] for batch in found] == [videos * 2 for videos in order]  # 3 videos, then the same again
    for batch in found:
        assert batch["clip"].shape == (6, 3, 3, 23, 23)
        assert batch["label"][:3].tolist() == batch["label"][3:].tolist()
    assert not torch.equal(found[0]["clip"][:3], found[0]["clip"][3:])


def test_classes_that_are_not_mirrored_must_exist(video_folder: Path) -> None:
    with pytest.raises(UserError, match="no_flip_classes names no class of the data: d"):
        ClipDataModule(train=str(video_folder), augmentation=Augmentation(no_flip_classes=("a", "d")))


class Hanging(Video):
    """A video whose decoder hangs in native code that keeps the interpreter's lock."""

    def open(self, decoder: str = "auto") -> NoReturn:
        ctypes.PyDLL(None).sleep(1000)
        raise AssertionError("it was to be ended")


def test_a_decoder_that_hangs_costs_one_video_and_not_the_workers(video_folder: Path) -> None:
    data = module(video_folder, val=str(video_folder), loading=Loading(7, num_workers=1, time_limit_seconds=3))
    videos = list(data.videos["train"])
    videos[4] = Hanging(videos[4].path, videos[4].label)
    data.videos = {name: PackedVideos(videos) for name in ("train", "val")}
    loader = data.train_dataloader()
    for epoch in range(2):
        (batch,) = batches(loader, epoch)
        assert sorted(batch["video"]) == list(range(7))
        assert [Path(failure.path).name for failure in batch["failures"]] == ["clip_4.mp4"]
        assert "took longer than 3 seconds" in batch["failures"][0].reason
    (batch,) = batches(data.val_dataloader())
    assert batch["video"].tolist() == [0, 1, 2, 3, 5, 6]


class Recorder(pl.LightningModule):
    """Records which batches the trainer hands over."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[torch.Tensor] = []
        self.videos: list[int] = []

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen.append(batch["clip"])
        return self.weight * batch["clip"].float().mean()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        raise AssertionError("there are no validation videos")

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        self.videos.extend(batch["video"].tolist())

    def predict_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.videos.extend(batch["video"].tolist())
        return batch["video"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
@pytest.mark.filterwarnings("ignore:You are using a custom batch sampler `EvaluationBatchSampler` for prediction")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # Lightning 2.6 with torch 2.15
def test_the_trainer_sets_the_epoch_and_keeps_the_samplers(video_folder: Path, tmp_path: Path) -> None:
    data = module(video_folder, test=str(video_folder), test_views=Views())
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        log_every_n_steps=1,
    )
    recorder = Recorder()
    trainer.fit(recorder, datamodule=data)
    loader = module(video_folder).train_dataloader()
    expected = [batch["clip"] for epoch in (0, 1) for batch in batches(loader, epoch)]
    assert len(recorder.seen) == len(expected) == 4
    assert all(torch.equal(a, b) for a, b in zip(recorder.seen, expected, strict=True))
    trainer.test(recorder, datamodule=data, verbose=False)
    assert recorder.videos == list(range(7))
    trainer.predict(recorder, datamodule=data, return_predictions=False)
    assert recorder.videos == list(range(7)) * 2


def test_classes_may_be_a_file_that_names_numbers(video_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("007\nno\nunused\n")
    videos = sorted(video_folder.glob("*/*.mp4"))
    (tmp_path / "list.txt").write_text("".join(f"{video} {number % 2}\n" for number, video in enumerate(videos)))
    data = ClipDataModule(train="list.txt", root=str(tmp_path), classes="names.txt")
    assert data.class_names == ["007", "no", "unused"]
    assert [video.label for video in data.videos["train"]] == [0, 1, 0, 1, 0, 1, 0]
    (tmp_path / "names.txt").rename(tmp_path / "classes.txt")  # beside the list it is found
    data = ClipDataModule(train=str(tmp_path / "list.txt"))
    assert data.class_names == ["007", "no"]
