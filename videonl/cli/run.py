"""``videonl fit``, ``validate``, ``test`` and ``predict``: LightningCLI with a folder for every run."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from videonl.cli.run_callbacks import callbacks
from videonl.cli.run_folder import Run, SaveRunConfig, begin_or_resume, belongs_to, find_checkpoint
from videonl.cli.run_loggers import loggers, missing_tensorboard
from videonl.data.datamodule import ClipDataModule
from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.execution import keep_freed_memory
from videonl.models.transfer import load_into
from videonl.models.zoo import find_weights
from videonl.runtime.watch import end_with_launcher
from videonl.training import ClipModule
from videonl.training.checkpoint_files import WholeCheckpoints
from videonl.training.guarded_loggers import guarded


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
        end_with_launcher()
        config = self.config[self.subcommand]
        run, asked = Run(**config.run.as_dict()), config.ckpt_path
        training = self.subcommand == "fit"
        if training and config.trainer.fast_dev_run and asked in (None, "last"):
            self._continued, config.ckpt_path = False, None  # it writes nothing, and there is nothing to go on from
            return
        self._continued = training and asked is not None and belongs_to(run, asked)
        config.ckpt_path = begin_or_resume(run, asked) if training else find_checkpoint(run, asked or "best")

    def instantiate_classes(self) -> None:
        """Builds everything, of which a logger that the configuration names may lack its package."""
        try:
            super().instantiate_classes()
        except (ModuleNotFoundError, ValueError) as error:  # the parser makes the one the other
            if "Neither `tensorboard`" in str(error):
                raise missing_tensorboard() from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the run's loggers, checkpoints and reports to what the configuration asks for."""
        self.datamodule.setup(str(self.subcommand))  # what it refuses, it refuses before anything is written
        config = self.config_init[self.subcommand]
        run: Run = config.run
        progress = config.trainer.enable_progress_bar is not False
        logs = config.trainer.logger is not False
        ours = callbacks(run, self.datamodule, str(self.subcommand), self.model.task.monitor, progress, logs)
        kwargs["plugins"] = [*(config.trainer.plugins or []), WholeCheckpoints()]
        config.trainer.callbacks = [*(config.trainer.callbacks or []), *ours]
        if config.trainer.logger is None:
            settings = self.config[self.subcommand].as_dict()
            kwargs["logger"] = loggers(run, str(self.subcommand), self._continued, settings)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, RuntimeError) as error:  # what the Trainer refuses, such as an accelerator not there
            raise UserError(str(error)) from error
        self.model.fold = run.fold
        trainer.loggers = [guarded(logger) for logger in trainer.loggers]
        if run.keep_memory and isinstance(trainer.accelerator, CPUAccelerator):
            keep_freed_memory()
        return trainer

    def before_fit(self) -> None:
        """Loads what the training starts from, unless an earlier one is resumed."""
        module: ClipModule = self.model
        self._check_data()
        self._check_synchronisation(module.network)
        if module.weights is None or self.config_init[self.subcommand].ckpt_path is not None:
            return
        if not isinstance(module.network, ClipClassifier):
            raise UserError(f"model.weights is for networks of videonl, not for {type(module.network).__name__}")
        weights = find_weights(module.weights, module.network)
        for sentence in load_into(module.network, weights, asdict(module.clip)):
            _say(sentence)

    def before_validate(self) -> None:
        """Refuses a validation of nothing."""
        if "val" not in self.datamodule.videos:
            raise UserError("no val videos were given. Set --data.val to a folder or a list file.")

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs it; what early stopping is to look at is known only when it has been logged."""
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if str(error).startswith("Early stopping conditioned on metric"):
                raise UserError(str(error)) from error
            raise

    def _check_data(self) -> None:
        """Refuses what cannot be learnt from, and Lightning's flag that puts another order in place of ours."""
        if self.datamodule.num_classes < 2:
            raise UserError(
                f"there is but one class, {self.datamodule.class_names[0]}; a source is a folder of class folders or a "
                "list: is --data.train the right one?"
            )
        if self.config_init[self.subcommand].trainer.overfit_batches:
            raise UserError(
                "trainer.overfit_batches does not go with the order in which videos are visited here; to see a network "
                "overfit, give --data.train a list of a few videos"
            )

    def _check_synchronisation(self, network: nn.Module) -> None:
        """Refuses Lightning's synchronised norms where they would take the place of others than trained ones."""
        if not self.config_init[self.subcommand].trainer.sync_batchnorm:
            return
        mode = network.settings["batch_norm"] if isinstance(network, ClipClassifier) else "trained"
        if mode in ("frozen", "affine"):
            raise UserError(f"trainer.sync_batchnorm would replace the norms of batch_norm: {mode}; leave it out")
        if isinstance(self.trainer.accelerator, CPUAccelerator):
            raise UserError("trainer.sync_batchnorm is for GPUs; batch_norm: synchronised of the network is not")

    def _close_loggers(self) -> None:
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()

    after_fit = after_validate = after_test = after_predict = _close_loggers


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
