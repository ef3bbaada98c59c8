"""The data module: sources in, batches out."""

import math
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Sampler

from videonl.data.augmentation import Augmentation, TrainTransform
from videonl.data.balance import balanced_order, draw_weights
from videonl.data.batches import collate_evaluation, collate_training
from videonl.data.dataset import EvaluationVideos, TrainingClips
from videonl.data.fetch_ahead import Foreseen
from videonl.data.loader import Loading, ResumableLoader, worker_options
from videonl.data.multigrid import Multigrid
from videonl.data.multigrid_schedule import MultigridSchedule
from videonl.data.reading.url_path import Where, where
from videonl.data.samplers import EvaluationBatchSampler, MultigridBatches, TrainingSampler
from videonl.data.sources.class_names import read_class_names
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import file_of_source, read_source
from videonl.data.sources.labels import assign, assign_known, classes_of, leave_out_wrong_labels
from videonl.data.transforms import ClipFormat, Views, ViewTransform
from videonl.data.video import PackedVideos, Video
from videonl.errors import UserError
from videonl.terminal import printable


class ClipDataModule(LightningDataModule):
    """Labeled videos, as batches of clips.

    A source is a folder of class folders (CLASS/CLIP.mp4), a list file ("path label" or "path,label" per line; with a
    header and a column "split", clips.csv#train takes one split of it), or an index or a folder of shards, which may be
    a URL (s3://bucket/shards#train).

    Args:
        train: Source of the training videos.
        val: Source of the validation videos.
        test: Source of the test videos, also used for prediction, which needs no labels.
        root: Base folder of relative sources, and of relative paths in lists; official lists find their files below it.
        classes: Names of the classes in the order of their index, or a file of them, which also names the numeric
            labels of lists. By default the sorted labels of the first source.
        clip: The clip format of the network.
        augmentation: Augmentation of training clips.
        validation_views: Views per video for validation.
        test_views: Views per video for testing and predicting.
        loading: Settings for loading batches.
        columns: What the columns of lists are called: path=filename,label=class,split=fold,start=from,end=to.
        path_prefix: OLD=NEW: paths in lists that begin with OLD begin with NEW here.
        task: ``single_label``, or ``multi_label`` for videos with any number of labels each.
        balance: How often training videos are drawn: none, each once; classes, every class equally often; sqrt, in
            proportion to the square root of its number of videos; or weights by class, such as {fall: 4}.
        multigrid: Train on more and smaller clips at first.

    Raises:
        UserError: A source is missing or malformed, a label of an evaluation's video is not among the classes, or those
            of too many training videos are not; a few of those are named and left out.
        ValueError: Crops do not fit the frames they are cut from.
    """

    def __init__(
        self,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        root: str | None = None,
        classes: list[str] | str | None = None,
        clip: ClipFormat = ClipFormat(),
        augmentation: Augmentation = Augmentation(),
        validation_views: Views = Views(),
        test_views: Views = Views(num_clips=10, num_crops=3),
        loading: Loading = Loading(),
        columns: str | None = None,
        path_prefix: str | None = None,
        task: str = "single_label",
        balance: str | dict[str, float] = "none",
        multigrid: Multigrid = Multigrid(),
    ) -> None:
        super().__init__()
        self.has_several_labels = task == "multi_label"
        self.clip = clip
        self.validation_views, self.test_views = validation_views, test_views
        for views in (validation_views, test_views):
            ViewTransform(clip, views)  # raises for crops that do not fit, now rather than in a worker
        self.loading = loading
        self.augmentation = augmentation
        self.multigrid = multigrid
        self.scored: frozenset[int] = frozenset()
        self._training_loader: ResumableLoader | None = None
        self._resumed_from: dict[str, Any] | None = None
        folder = where(root) if root else None
        sources = {"train": train, "val": val, "test": test}
        self.root, self.sources = root, {name: source for name, source in sources.items() if source}
        names_file = _find(classes, folder) if isinstance(classes, str) else None
        labeled = {
            name: read_source(source, folder, names_file, name == "test", columns, path_prefix)
            for name, source in self.sources.items()
        }
        given = list(read_class_names(names_file).values()) if names_file else classes
        several = self.has_several_labels
        self.class_names = _class_names(given if isinstance(given, list) else None, labeled, several)
        if "train" in labeled:  # a training does without some of its videos, an evaluation would be another one
            share = loading.training_share
            labeled["train"] = leave_out_wrong_labels(labeled["train"], self.class_names, share, several)
        self._wrong_test_label: UserError | None = None
        self.videos = {name: PackedVideos(self._assign(name, entries)) for name, entries in labeled.items()}
        if train:
            self._train_transform = TrainTransform(clip, augmentation, augmentation.no_flip_labels(self.class_names))
        self.balance = balance
        self._draws: Callable[[torch.Generator], list[int]] | None = None
        if train and balance != "none":
            labels = [video.label for video in self.videos["train"]]
            weights = draw_weights(labels, balance, self.class_names)
            assert weights is not None
            self._draws = partial(balanced_order, weights, labels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> list[int] | None:
        """The number of training videos of every class; None where there are no training videos."""
        if "train" not in self.videos:
            return None
        counts = Counter(
            index
            for video in self.videos["train"]
            for index in (video.label if isinstance(video.label, tuple) else (video.label,))
        )
        return [counts[index] for index in range(self.num_classes)]

    @property
    def label_columns(self) -> int | None:
        """Of the labels of batches; None where there is one label a clip."""
        return self.num_classes if self.has_several_labels else None

    def files(self) -> list[Path]:
        """What the sources are read from: the folder, list or index of each."""
        root = where(self.root) if self.root else None
        return [file_of_source(source, root) for source in self.sources.values()]

    def setup(self, stage: str) -> None:
        """Rejects test videos of unknown class, except for prediction.

        Raises:
            UserError: Naming one of them.
        """
        if stage != "predict" and self._wrong_test_label is not None:
            raise self._wrong_test_label

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of random clips that track the progress of the training, and resume with it."""
        loader = self.training_loader(None if self.trainer is None else self.multigrid_schedule(self.trainer))
        if self.trainer is not None:
            loader.limit = self.trainer.limit_train_batches
        elif self.multigrid.is_on:
            raise UserError("data.multigrid requires a trainer, whose epochs its schedule divides")
        if self._resumed_from is not None:
            loader.load_state_dict(self._resumed_from)
        self._training_loader = loader
        return loader

    def multigrid_schedule(self, trainer: Trainer) -> MultigridSchedule | None:
        """The shape of the batch of every step of a multigrid training; None where all are of full size.

        Raises:
            UserError: It is not known how many steps the training has.
        """
        if not self.multigrid.is_on:
            return None
        loader = self.training_loader()
        loader.limit = trainer.limit_train_batches
        epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
        steps = math.inf if trainer.max_steps == -1 else trainer.max_steps * trainer.accumulate_grad_batches
        num_steps = min(epochs * loader.num_batches, steps)
        if math.isinf(num_steps):
            raise UserError(
                "data.multigrid needs a known number of steps: set --trainer.max_epochs or --trainer.max_steps"
            )
        return MultigridSchedule(self.multigrid, self.clip, int(num_steps), loader.num_batches)

    def training_loader(self, schedule: MultigridSchedule | None = None) -> ResumableLoader:
        """Batches of random clips, apart from the training's progress; ``set_epoch`` chooses the epoch.

        Args:
            schedule: The shapes of batches of a multigrid training; by default all are of full size.
        """
        videos, loading = self._videos_of("train"), self.loading
        clips = TrainingClips(
            videos,
            self.clip,
            self._train_transform,
            loading.decoder,
            loading.seed,
            loading.clips_per_video,
            loading.time_limit_seconds or None,
            self.label_columns,
        )
        clips.ahead.kept = loading.kept
        num_videos_per_batch = loading.batch_size // loading.clips_per_video
        sampler = TrainingSampler(len(videos), loading.seed, num_videos_per_batch, self._draws, str(self.balance))
        options = {"collate_fn": collate_training, "foresees": videos.any_remote, **self._options()}
        if schedule is not None:
            return ResumableLoader(clips, sampler, MultigridBatches(sampler, schedule), **options)
        return ResumableLoader(clips, sampler, batch_size=num_videos_per_batch, **options)

    def state_dict(self) -> dict[str, Any]:
        """The progress in the epoch; part of every checkpoint."""
        if self._training_loader is None:
            return {}
        epochs = self.trainer.fit_loop.epoch_progress.current if self.trainer else None
        # An epoch ends, too, where the training's steps or time are over.
        has_ended = epochs is not None and epochs.processed == epochs.ready  # type: ignore[attr-defined]  # it has it
        return {**self._training_loader.state_dict(), "is_over": has_ended and self._training_loader.is_through}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from this progress.

        The trainer also keeps the states of loaders by itself, but gives them back only to loaders that are made after
        the optimizer, whose schedule asks for the number of batches.
        """
        self._resumed_from = state_dict

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mix the clips of a training batch, on the device."""
        if self.trainer is None or not self.trainer.training:
            return batch
        key = (self.loading.seed, self.trainer.current_epoch, *batch["video"])
        clip, label = self.augmentation.mixing(batch["clip"], batch["label"], self.num_classes, key)
        return batch | {"clip": clip, "label": label}

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Batches of whole videos; an empty list if there are no validation videos."""
        return self._evaluation_loader("val", self.validation_views) if "val" in self.videos else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of whole videos."""
        self.setup("test")  # who calls this without a trainer is told too
        return self._evaluation_loader("test", self.test_views)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Batches of whole videos: the test videos."""
        return self._evaluation_loader("test", self.test_views)

    def _assign(self, name: str, entries: list[LabeledPath]) -> list[Video]:
        try:
            return assign(entries, self.class_names, self.has_several_labels)
        except UserError as error:
            if name != "test":
                raise
            self._wrong_test_label = error
            return assign_known(entries, self.class_names, self.has_several_labels)

    def _videos_of(self, name: str) -> PackedVideos:
        if name not in self.videos:
            raise UserError(f"no {name} videos were given. Set --data.{name} to a folder or a list file.")
        return self.videos[name]

    def _evaluation_loader(self, name: str, views: Views) -> DataLoader[Any]:
        videos = self._videos_of(name)
        # Whole frames of different videos differ in size, and a batch has but one.
        most = 1 if views.fully_convolutional else self.loading.batch_size // views.num_views
        num_videos_per_batch = max(1, most)
        limit = self.loading.time_limit_seconds or None
        clips = EvaluationVideos(videos, self.clip, views, self.loading.decoder, limit, self.label_columns)
        clips.ahead.kept = self.loading.kept
        batches: Sampler[Any] = EvaluationBatchSampler(
            len(videos), num_videos_per_batch, self.scored if name == "test" else ()
        )
        if videos.any_remote:
            batches = Foreseen(batches, self.loading.num_workers)
        return DataLoader(clips, batch_sampler=batches, collate_fn=collate_evaluation, **self._options())

    def _options(self) -> dict[str, Any]:
        num_workers = self.loading.num_workers
        modules = ("videonl.data.augmentation",) if "train" in self.videos else ()
        return {
            "persistent_workers": num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            **worker_options(num_workers, *modules),
        }


def _find(names_file: str, root: Where | None) -> Path:
    beside = (root if isinstance(root, Path) else Path()) / os.path.expanduser(names_file)
    return beside if beside.is_file() else Path(os.path.expanduser(names_file))


def _class_names(classes: list[str] | None, labeled: dict[str, list[LabeledPath]], several: bool) -> list[str]:
    if classes:
        repeated = sorted({name for name in classes if classes.count(name) > 1})
        if repeated:
            raise UserError(f"--data.classes names a class more than once: {', '.join(repeated)}.")
        return [printable(name) for name in classes]
    if not labeled:
        raise UserError("no videos were given. Set --data.train, --data.val or --data.test to a folder or a list file.")
    for entries in labeled.values():
        if all(entry.label is not None for entry in entries):
            return classes_of(entries, several)
    raise UserError("the videos have no labels, so the classes are not known. Name them: --data.classes '[run, walk]'.")
