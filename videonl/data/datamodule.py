"""The data module: sources in, batches out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from videonl.data.dataset import EvaluationVideos, TrainingClips, collate_evaluation, collate_training
from videonl.data.decoding import check_decoder
from videonl.data.index import LabelledPath, Video, assign, class_list, read_source
from videonl.data.samplers import EvaluationBatchSampler, TrainingSampler
from videonl.data.transforms import Augmentation, ClipFormat, TrainTransform, Views, ViewTransform
from videonl.errors import UserError


@dataclass(frozen=True)
class Loading:
    """How batches are loaded.

    Args:
        batch_size: Number of clips per batch and process. In evaluation the views of a video stay together, so a batch
            has at most this many views, or one video.
        num_workers: Number of worker processes that decode; 0 decodes in the main process.
        decoder: The video decoder: auto, pyav, decord or torchcodec.
        seed: Seed of the order of the clips and of everything random about them.
    """

    batch_size: int = 8
    num_workers: int = 2
    decoder: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("num_workers", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, got {getattr(self, name)}")
        check_decoder(self.decoder)


class ClipDataModule(LightningDataModule):
    """Videos with one label each, as batches of clips.

    A source is a folder of class folders (CLASS/CLIP.mp4), a list file ("path label" or "path,label" per line; with a
    header and a column "split", clips.csv#train takes one split of it), or an index or a folder of shards, which may be
    a URL (s3://bucket/shards#train).

    Args:
        train: Source of the training videos.
        val: Source of the validation videos.
        test: Source of the test videos, which are also those to predict.
        root: Folder that relative sources, and relative paths in lists, are relative to.
        classes: Names of the classes in the order of their index. By default the sorted labels of the first
            source given.
        clip: What the network expects of a clip.
        augmentation: How training clips are varied.
        validation_views: Views per video for validation.
        test_views: Views per video for testing and predicting.
        loading: How batches are loaded.

    Raises:
        UserError: A source is missing or malformed, or a label is not among the classes.
        ValueError: Crops do not fit the frames they are cut from.
    """

    def __init__(
        self,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        root: str | None = None,
        classes: list[str] | None = None,
        clip: ClipFormat = ClipFormat(),
        augmentation: Augmentation = Augmentation(),
        validation_views: Views = Views(),
        test_views: Views = Views(num_clips=10, num_crops=3),
        loading: Loading = Loading(),
    ) -> None:
        super().__init__()
        self.clip = clip
        self.validation_views, self.test_views = validation_views, test_views
        for views in (validation_views, test_views):
            ViewTransform(clip, views)  # raises for crops that do not fit, now rather than in a worker
        self.loading = loading
        self._train_transform = TrainTransform(clip, augmentation) if train else None
        folder = Path(root).expanduser() if root else None
        sources = {"train": train, "val": val, "test": test}
        labelled = {name: read_source(source, folder) for name, source in sources.items() if source}
        self.class_names = _class_names(classes, labelled)
        self.videos: dict[str, list[Video]] = {
            name: assign(entries, self.class_names) for name, entries in labelled.items()
        }

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of random clips; ``set_epoch`` of its sampler chooses the epoch."""
        videos = self._videos_of("train")
        assert self._train_transform is not None
        loading = self.loading
        sampler = TrainingSampler(len(videos), loading.seed)
        return self._loader(
            TrainingClips(videos, self.clip, self._train_transform, loading.decoder, loading.seed),
            collate_fn=collate_training,
            sampler=sampler,
            batch_size=loading.batch_size,
            # A smaller last batch skews batch norm; but a data set smaller than one batch must not vanish.
            drop_last=len(sampler) >= loading.batch_size,
        )

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Batches of whole videos; an empty list if there are no validation videos."""
        return self._evaluation_loader("val", self.validation_views) if "val" in self.videos else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of whole videos."""
        return self._evaluation_loader("test", self.test_views)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Batches of whole videos: the test videos."""
        return self._evaluation_loader("test", self.test_views)

    def _videos_of(self, name: str) -> list[Video]:
        if name not in self.videos:
            raise UserError(f"no {name} videos were given. Set --data.{name} to a folder or a list file.")
        return self.videos[name]

    def _evaluation_loader(self, name: str, views: Views) -> DataLoader[Any]:
        videos = self._videos_of(name)
        # Whole frames of different videos differ in size, and a batch has but one.
        most = 1 if views.fully_convolutional else self.loading.batch_size // views.num_views
        num_videos_per_batch = max(1, most)
        return self._loader(
            EvaluationVideos(videos, self.clip, views, self.loading.decoder),
            collate_fn=collate_evaluation,
            batch_sampler=EvaluationBatchSampler(len(videos), num_videos_per_batch),
        )

    def _loader(self, dataset: Any, **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self.loading.num_workers,
            persistent_workers=self.loading.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_start_worker,
            **options,
        )


def _class_names(classes: list[str] | None, labelled: dict[str, list[LabelledPath]]) -> list[str]:
    if classes:
        repeated = sorted({name for name in classes if classes.count(name) > 1})
        if repeated:
            raise UserError(f"--data.classes names a class more than once: {', '.join(repeated)}.")
        return list(classes)
    if not labelled:
        raise UserError("no videos were given. Set --data.train, --data.val or --data.test to a folder or a list file.")
    return class_list([entry.label for entry in next(iter(labelled.values()))])


def _start_worker(worker: int) -> None:
    # Workers are the parallelism; a thread per core in each of them would only contend.
    torch.set_num_threads(1)
