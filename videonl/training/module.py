"""The LightningModule: one training step, and evaluation with several views per video."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from videonl.data.batches import EvaluationBatch, TrainingBatch
from videonl.data.datamodule import ClipDataModule
from videonl.data.multigrid_schedule import MultigridSchedule
from videonl.data.transforms import MOST_VIEWS, ClipFormat
from videonl.errors import UserError, require_within
from videonl.evaluation import Average, VideoScore, VideoScores
from videonl.inference import VIEWS_PER_STEP, Recognizer, network_input
from videonl.inference.recognizer import lay_out
from videonl.profiling import require_clip
from videonl.tasks import TASKS, Task
from videonl.tasks.loss import Loss
from videonl.training.optimization import Optimization, build_optimizer
from videonl.training.schedule import ScheduledRates, lr_factor, multigrid_factor


class ClipModule(LightningModule):
    """Trains and evaluates any network that maps clips (B, 3, T, H, W) to logits (B, K).

    Args:
        network: The network. When it has ``settings`` (plain data), they travel with the checkpoint, so that the
            network can be rebuilt from the checkpoint alone.
        class_names: Names of the classes, in the order of the logits.
        clip: The clip format of the network.
        optimization: Optimizer and schedule.
        label_smoothing: Fraction of each label spread over all classes.
        channels_last: Store activations with channels innermost. The results are the same up to rounding; convolutions
            are faster on most machines.
        views_per_step: Most views of a video scored in one forward pass of an evaluation.
        weights: Initial weights: a file of ``videonl convert``, a checkpoint of an earlier ``fit``, or a
            published name such as ``kinetics400/i3d_r50``. The command line loads it, unless a training is resumed.
        average: What an evaluation averages over the views of a video: softmax or logits; of several labels, sigmoid,
            or max for the largest one.
        task: ``single_label``, or ``multi_label`` for any number of classes for each video.
        loss: The loss of a training, for uneven classes.
        class_counts: The number of training videos of every class, on which it may depend; the command line sets it.
        positive_weights: Of several labels: how many times a true class counts in the loss against a false one; one
            number, or one for each class.

    Attributes:
        scores: After an evaluation, the score of every video, the same in every process.
        unreadable: After an evaluation, the reason why a video has no score, by its file.
        task: The meaning of a label.
        threshold: Of several labels, the probability from which a class counts as predicted: that of the highest F1 on
            the validation videos; None before the first validation.
        fold: Whether evaluations score with a copy whose batch norms are folded into convolutions.
    """

    def __init__(
        self,
        network: nn.Module,
        class_names: list[str],
        clip: ClipFormat,
        optimization: Optimization = Optimization(),
        label_smoothing: float = 0.0,
        channels_last: bool = True,
        views_per_step: int = VIEWS_PER_STEP,
        weights: str | None = None,
        average: Average | None = None,
        task: str = "single_label",
        positive_weights: float | list[float] | None = None,
        loss: Loss = Loss(),
        class_counts: list[int] | None = None,
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise UserError(f"unknown task {task!r}; the tasks are: {', '.join(TASKS)}")
        if task == "multi_label" and loss.logit_adjustment:
            raise UserError("loss.logit_adjustment is for one label a video; set positive_weights for several")
        if task != "multi_label" and positive_weights is not None:
            raise UserError("positive_weights is for task: multi_label; with one label a video, set loss.class_weights")
        of_classes = loss.weights(class_counts, class_names), loss.adjustment(class_counts)
        self.task: Task = TASKS[task](positive_weights, loss, *of_classes)
        self.task_name = task
        if hasattr(network, "settings"):  # of others it is not known what a forward changes
            require_clip(network, (clip.num_frames, clip.crop_px, clip.crop_px))
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        require_within(1, MOST_VIEWS, views_per_step=views_per_step)
        self.network = network
        self.class_names = class_names
        self.clip = clip
        self.optimization = optimization
        self.label_smoothing = label_smoothing
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        self.views_per_step = views_per_step
        self.weights = weights
        self.average: Average = self.task.average(average)
        self.threshold: float | None = None
        self.scores: list[VideoScore] = []
        self.unreadable: dict[str, str] = {}
        self.fold = True
        self._recognizer: Recognizer | None = None
        self._grids: MultigridSchedule | None = None
        self._collected = VideoScores(self.average)

    def configure_model(self) -> None:
        """Lays the weights out as the convolutions want them."""
        lay_out(self.network, self.memory_format)

    def forward(self, clip: Tensor) -> Tensor:
        """Scores raw clips.

        Args:
            clip: Pixels from 0 to 255, (B, 3, T, H, W), uint8 or floating.

        Returns:
            Logits, (B, K).
        """
        dtype = torch.get_default_dtype() if isinstance(self.dtype, str) else self.dtype  # of 64-true and bf16-true
        logits: Tensor = self.network(network_input(clip, self.clip, dtype, self.memory_format))
        return logits

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        """The loss of one batch of clips; ``train/top1`` counts the stronger label of mixed clips."""
        parts = batch["clip"].chunk(self._num_parts(batch_idx))
        logits, label = torch.cat([self._trained(part) for part in parts]), batch["label"]
        loss = self.task.loss(logits, label, self.label_smoothing)
        hits = self.task.hits(logits, label).mean()
        size = len(label)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        name = f"train/{self.task.hit_name}"
        self.log(name, hits, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        return loss

    def _trained(self, clips: Tensor) -> Tensor:
        try:
            logits: Tensor = self(clips)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # what torch's batch norms say
                raise
            raise UserError(
                f"a batch norm has one value per channel: a batch of {len(clips)} clip of {self.clip.num_frames} x "
                f"{self.clip.crop_px} x {self.clip.crop_px} shrinks to one position; raise data.loading.batch_size or "
                "data.clip.crop_px"
            ) from error
        return logits

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer, and a schedule that moves every step."""
        settings = self.optimization
        if settings.lr_per_clips is not None:
            settings = settings.scaled_to(self._num_clips_per_step())
        optimizer = build_optimizer(self.network, settings)
        factor = lr_factor(settings, self.trainer.estimated_stepping_batches)
        self._grids = self._multigrid()
        if self._grids is not None:
            factor = multigrid_factor(factor, self._grids, self.trainer.accumulate_grad_batches)
        schedule = ScheduledRates(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _multigrid(self) -> MultigridSchedule | None:
        data = getattr(self.trainer, "datamodule", None)  # none where the trainer is given loaders alone
        return data.multigrid_schedule(self.trainer) if isinstance(data, ClipDataModule) else None

    def _num_parts(self, batch_idx: int) -> int:
        """Sub-batches of a multigrid batch: its norms take statistics over as many clips as those of full size do."""
        norms = (part for part in self.network.modules() if isinstance(part, _BatchNorm))
        if self._grids is None or not any(norm.training for norm in norms):
            return 1
        return self._grids.shape(self._grids.step(self.trainer.current_epoch, batch_idx)).num_parts

    def _num_clips_per_step(self) -> int:
        """Clips of an optimizer step, of all processes and accumulated batches."""
        data: ClipDataModule = self.trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer's loops
        return data.loading.batch_size * self.trainer.world_size * self.trainer.accumulate_grad_batches

    def resume_scores(self, known: list[VideoScore], keep: Callable[[VideoScore], None]) -> None:
        """The coming evaluation begins with these scores, and hands each further one on as soon as it is there."""
        self._collected = VideoScores(self.average, known, keep)

    def _score_views(self, batch: EvaluationBatch) -> None:
        self._collected.skip({failure.path: failure.reason for failure in batch["failures"]})
        if not len(batch["video"]):  # none of the batch's files could be read
            return
        logits = self.scorer.logits_of_videos(batch["clip"], batch["video"])
        self._collected.update(logits, batch["view"], batch["video"], batch["label"], batch["path"])

    @property
    def scorer(self) -> Recognizer:
        """The recognizer of the running evaluation, made when it is first asked for: weights change between them."""
        if self._recognizer is None:
            self._recognizer = self.recognizer()
        return self._recognizer

    def recognizer(self) -> Recognizer:
        """The network that scores with the current weights; a copy if norms are folded."""
        channels_last = self.memory_format == torch.channels_last_3d
        return Recognizer(self.network, self.clip, self.views_per_step, channels_last, self.fold)

    def _finish_scores(self) -> None:
        self._recognizer = None
        self.scores, self.unreadable = self._collected.gather(), self._collected.gather_unreadable()
        self._collected = VideoScores(self.average)

    def _log_accuracies(self, stage: str) -> None:
        self._finish_scores()
        labeled = [score for score in self.scores if score.is_labeled]
        if labeled:
            if stage == "val":
                self.threshold = self.task.threshold(labeled)
            metrics = self.task.metrics(labeled, self.threshold)
            named = {f"{stage}/{name}": value for name, value in metrics.items()}
            # Every process has gathered every score, so synchronizing averages equal numbers.
            self.log_dict(named, prog_bar=stage == "val", sync_dist=True)

    def validation_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Scores the views of some videos."""
        self._score_views(batch)

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Scores the views of some videos."""
        self._score_views(batch)

    def predict_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        """Scores the views of some videos."""
        self._score_views(batch)

    def on_validation_epoch_end(self) -> None:
        """Averages views per video and logs the accuracies."""
        self._log_accuracies("val")

    def on_test_epoch_end(self) -> None:
        """Averages views per video and logs the accuracies."""
        self._log_accuracies("test")

    def on_predict_epoch_end(self) -> None:
        """Averages views per video."""
        self._finish_scores()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to use the weights without the run that made them."""
        checkpoint["videonl"] = {
            "network": getattr(self.network, "settings", None),
            "class_names": self.class_names,
            "clip": asdict(self.clip),
            **({"task": self.task_name, "threshold": self.threshold} if self.task_name != "single_label" else {}),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other classes or of another network, before any weight is touched.

        Raises:
            UserError: When they differ; the message says in what.
        """
        about = checkpoint.get("videonl", {})
        if about.get("task", "single_label") != self.task_name:
            raise UserError(f"the checkpoint is of the task {about.get('task', 'single_label')}; set --task to it")
        self.threshold = about.get("threshold")
        trained = about.get("class_names", self.class_names)
        if trained != self.class_names:
            raise UserError(
                "the checkpoint was trained on other classes than those of the data: "
                f"{_difference(trained, self.class_names)}; evaluate it on its own classes, or train a new network"
            )
        missing = self.state_dict().keys() ^ checkpoint["state_dict"].keys()
        if missing:
            raise UserError(
                f"the checkpoint belongs to another network: {len(missing)} weights exist only in one of them, such as "
                f"{min(missing)}; use the configuration that was saved beside the checkpoint"
            )


def _difference(trained: list[str], given: list[str]) -> str:
    """What tells two class lists apart, in a few words."""
    if set(trained) == set(given):
        return "the same names in another order"
    only_trained = sorted(set(trained) - set(given))[:3]
    only_given = sorted(set(given) - set(trained))[:3]
    counts = f"{len(trained)} against {len(given)} classes"
    return f"{counts}, only the checkpoint has {only_trained}, only the data {only_given}"
