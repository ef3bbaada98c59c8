"""``videonl fit``, ``validate``, ``test`` and ``predict``: LightningCLI with a folder for every run."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichModelSummary, RichProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from videonl.backbones.fold import folded
from videonl.data.datamodule import ClipDataModule
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.execution import keep_freed_memory
from videonl.models.transfer import load_into
from videonl.models.zoo import find_weights
from videonl.training import ClipModule, SeedSteps, UnreadableVideos, ValidationViews, WriteScores


@dataclass(frozen=True)
class Run:
    """Where a run is kept and who hears of it.

    Attributes:
        dir: Folder of the run: its config.yaml, checkpoints, logs and scores.
        wandb: ``online`` and ``offline`` log to Weights & Biases; ``offline`` needs no account, and ``wandb sync`` can
            send it later.
        project: Project on Weights & Biases.
        overwrite: Start anew in a folder that already holds a run.
        fold: Test and predict with batch norms folded into convolutions: the same scores to rounding, in less time.
        keep_memory: On CPUs, keep freed memory for the next tensors instead of giving it back to the system.
        save_every_steps: Write last.ckpt also within an epoch, after every so many steps; 0 is after epochs alone.
    """

    dir: str = "runs/videonl"
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "videonl"
    overwrite: bool = False
    fold: bool = True
    keep_memory: bool = True
    save_every_steps: int = 0

    @property
    def checkpoints(self) -> Path:
        """Folder of best.ckpt and last.ckpt."""
        return Path(self.dir) / "checkpoints"


class SaveRunConfig(SaveConfigCallback):
    """Saves the whole configuration of a training as config.yaml in the run's folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes config.yaml, from which the run can be repeated, resumed and evaluated."""
        if stage != "fit":
            return
        config = self.config.clone()
        # What was said about this start alone: kept, it would make a later fit resume and a later test miss the best.
        config.ckpt_path = None
        config.run.overwrite = False
        path = Path(config.run.dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(config, path, skip_none=False, overwrite=True, multifile=self.multifile)


class FoldNorms(Callback):
    """Tests and predicts with a folded copy of the network."""

    def _fold(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ClipModule)
        self._whole = pl_module.network
        if isinstance(self._whole, ClipClassifier):  # of other networks it is not known whether they take any clip
            pl_module.network = folded(self._whole)

    def _restore(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ClipModule)
        pl_module.network = self._whole

    on_test_start = on_predict_start = _fold
    on_test_end = on_predict_end = _restore


class VideonlCLI(LightningCLI):
    """Trainer, :class:`ClipModule` and :class:`ClipDataModule` from configurations and flags."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__(
            ClipModule,
            ClipDataModule,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            # Our samplers shard the data themselves: Lightning's would pad evaluations and count videos twice.
            trainer_defaults={"use_distributed_sampler": False},
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's settings, and hands the data's classes and clip format to model and network."""
        parser.add_argument("--run", type=Run, default=Run())
        parser.link_arguments("data.num_classes", "model.network.init_args.num_classes", apply_on="instantiate")
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        parser.link_arguments("data.clip", "model.clip", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.loading.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the arguments given, without Lightning's warning that ``sys.argv`` holds others: it holds ours."""
        self.config = parser.parse_args(args)  # type: ignore[arg-type]  # always a list here

    def before_instantiate_classes(self) -> None:
        """Settles which checkpoint is meant, and refuses to write over an earlier run."""
        config = self.config[self.subcommand]
        if self.subcommand == "fit" and config.ckpt_path is None:
            _make_free(Path(config.run.dir), config.run.overwrite)
        config.ckpt_path = _checkpoint(config.ckpt_path, Path(config.run.dir) / "checkpoints", self.subcommand == "fit")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the run's loggers, checkpoints and reports to what the configuration asks for."""
        config = self.config_init[self.subcommand]
        run: Run = config.run
        config.trainer.callbacks = [*(config.trainer.callbacks or []), *self._callbacks(run)]
        if config.trainer.logger is None:
            kwargs["logger"] = self._loggers(run)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except ValueError as error:  # a value that the Trainer refuses, such as an accelerator that is not there
            raise UserError(str(error)) from error
        if run.keep_memory and isinstance(trainer.accelerator, CPUAccelerator):
            keep_freed_memory()
        return trainer

    def before_fit(self) -> None:
        """Loads what the training starts from, unless an earlier one is resumed."""
        module: ClipModule = self.model
        if module.weights is None or self.config_init[self.subcommand].ckpt_path is not None:
            return
        if not isinstance(module.network, ClipClassifier):
            raise UserError(f"model.weights is for networks of videonl, not for {type(module.network).__name__}")
        weights = find_weights(module.weights, module.network)
        for sentence in load_into(module.network, weights, asdict(module.clip)):
            _say(sentence)

    def _close_loggers(self) -> None:
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()

    after_fit = after_validate = after_test = after_predict = _close_loggers

    def _callbacks(self, run: Run) -> list[Callback]:
        last = ModelCheckpoint(
            run.checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        )
        loading = self.datamodule.loading
        callbacks: list[Callback] = [
            last,
            SeedSteps(loading.seed),
            UnreadableVideos(loading.max_failed_share),
            ValidationViews(),
            WriteScores(Path(run.dir)),
        ]
        if run.save_every_steps:
            callbacks.append(
                ModelCheckpoint(
                    run.checkpoints,
                    filename="last",
                    every_n_train_steps=run.save_every_steps,
                    enable_version_counter=False,
                )
            )
        if "val" in self.datamodule.videos:
            callbacks.append(
                ModelCheckpoint(
                    run.checkpoints, filename="best", monitor="val/top1", mode="max", enable_version_counter=False
                )
            )
        if run.fold:
            callbacks.append(FoldNorms())
        if self.subcommand == "fit":
            callbacks.append(LearningRateMonitor(logging_interval="step"))
        if self.config_init[self.subcommand].trainer.enable_progress_bar is not False:
            callbacks += [RichProgressBar(), RichModelSummary(max_depth=2)]
        return callbacks

    def _loggers(self, run: Run) -> list[Logger]:
        loggers: list[Logger] = [CSVLogger(run.dir, name=f"logs/{self.subcommand}")]
        if run.wandb != "disabled":
            loggers.append(
                WandbLogger(
                    name=Path(run.dir).name, project=run.project, save_dir=run.dir, offline=run.wandb == "offline"
                )
            )
        return loggers


class _ParseOnly(VideonlCLI):
    """Parses as ``fit`` does, and builds nothing."""

    def _set_seed(self) -> None:
        """Nothing is drawn."""

    def before_instantiate_classes(self) -> None:
        """No run is written to."""

    def instantiate_classes(self) -> None:
        """The data need not be there."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is trained."""


def parse_fit(arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration that ``videonl fit`` would have with the same arguments, as plain data."""
    config: dict[str, Any] = _ParseOnly(["fit", *arguments]).config["fit"].as_dict()
    return config


@rank_zero_only
def _say(sentence: str) -> None:
    logging.getLogger("videonl").info(sentence)


@rank_zero_only
def _make_free(directory: Path, overwrite: bool) -> None:
    """Sees that a new training starts in a folder without another run's results."""
    if not (directory / "config.yaml").exists():
        return
    if not overwrite:
        raise UserError(
            f"{directory} already holds a run; choose another --run.dir, resume it with --ckpt_path last, or start "
            "anew in its place with --run.overwrite true"
        )
    # Left in place, an older best.ckpt would be taken for this run's until its first validation.
    for pattern in ("checkpoints/*.ckpt", "test.parquet", "test.html", "test_confusion.png", "predictions.parquet"):
        for stale in directory.glob(pattern):
            stale.unlink()


def _checkpoint(asked: str | None, folder: Path, training: bool) -> str | None:
    """The checkpoint's path; ``best`` and ``last`` are those of the run's folder, and an evaluation wants the best."""
    if asked is None and training:
        return None
    name = asked or "best"
    path = folder / f"{name}.ckpt" if name in ("best", "last") else Path(name)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; name one by --ckpt_path, or the run's folder by --run.dir")
    return str(path)
