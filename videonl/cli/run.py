"""``videonl fit``, ``validate``, ``test`` and ``predict``: LightningCLI with a folder for every run."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NoReturn

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn

from videonl.cli.ending import TerminatedError
from videonl.cli.messages import is_verbose
from videonl.cli.parsing import require_values
from videonl.cli.run_callbacks import callbacks
from videonl.cli.run_folder import Run, SaveRunConfig, begin_or_resume, find_checkpoint, goes_on
from videonl.cli.run_loggers import loggers, missing_tensorboard
from videonl.cli.run_words import print_closing, print_header
from videonl.cli.trainer_values import require_trainer_values, require_usable, require_validations
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import naming_shared_memory
from videonl.errors import UserError
from videonl.evaluation.report import require_readable
from videonl.files import locked
from videonl.models import ClipClassifier
from videonl.models.execution import keep_freed_memory
from videonl.models.transfer import load_into
from videonl.models.zoo import find_weights
from videonl.outputs import check_folder, refuse_within
from videonl.runtime.watch import end_with_launcher
from videonl.tasks import TASKS
from videonl.terminal import printable
from videonl.training import ClipModule
from videonl.training.checkpoint_files import WholeCheckpoints
from videonl.training.guarded_loggers import guarded
from videonl.training.multigrid_limits import require_multigrid


class RunParser(LightningArgumentParser):
    """A parser that prints its errors as plain text, because they quote content of files and names."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message and exits with code 2."""
        super().error(printable(message), ex)


class VideonlCLI(LightningCLI):
    """Trainer, :class:`ClipModule` and :class:`ClipDataModule` from configurations and flags."""

    _continued = False  # whether a training goes on with the run's log
    _parser_class: type[RunParser] = RunParser

    def __init__(self, arguments: Sequence[str]) -> None:
        # A parser has hundreds of options: only that of the command asked for is built.
        self.subcommands = lambda: {arguments[0]: LightningCLI.subcommands()[arguments[0]]}  # type: ignore[method-assign]  # so it is found by Lightning
        with ExitStack() as self._held:  # locks, until the command is done
            super().__init__(
                ClipModule,
                ClipDataModule,
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"save_to_log_dir": False},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,  # it keeps hyperparameters for modules that save them; ours do not
                # Our samplers shard the data themselves: Lightning's would pad evaluations and count videos twice.
                trainer_defaults={"use_distributed_sampler": False},
                parser_class=self._parser_class,
                args=list(arguments),
            )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Turns off Lightning's own table of accuracies: ours has intervals."""
        self._chosen = parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand in ("validate", "test"):
            parser.set_defaults(verbose=False)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's settings, and hands the data's classes and clip format to model and network."""
        parser.add_argument("--run", type=Run, default=Run())
        parser.add_argument(
            "--task",
            type=Literal[tuple(TASKS)],
            default="single_label",
            help="single_label, or multi_label where a video may have any number of classes.",
        )
        parser.link_arguments("task", "data.task")
        parser.link_arguments("task", "model.task")
        parser.link_arguments("data.num_classes", "model.network.init_args.num_classes", apply_on="instantiate")
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        parser.link_arguments("data.clip", "model.clip", apply_on="instantiate")
        parser.link_arguments("data.class_counts", "model.class_counts", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.loading.seed", compute_fn=int)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the given arguments, without Lightning's warning that ``sys.argv`` differs."""
        self.config = parser.parse_args(args)  # type: ignore[arg-type]  # always a list here
        config = self.config[self.config.subcommand]
        require_values(self._chosen, config)
        require_trainer_values(config.trainer.as_dict(), config.seed_everything, self.config.subcommand)

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning would let a checkpoint add to the configuration, which is code."""

    def before_instantiate_classes(self) -> None:
        """Resolves the checkpoint."""
        end_with_launcher()
        config = self.config[self.subcommand]
        run, asked = Run(**config.run.as_dict()), config.ckpt_path
        training = self.subcommand == "fit"
        if training and config.trainer.fast_dev_run and asked in (None, "last"):
            config.ckpt_path = None  # it writes nothing, and there is nothing to go on from
            return
        check_folder(Path(run.dir))
        if not training:
            config.ckpt_path = find_checkpoint(run, asked or "best")
        elif asked not in (None, "last"):
            find_checkpoint(run, asked)
        self._continued = training and goes_on(run, asked)

    @rank_zero_only
    def _lock(self) -> None:
        folder = self.config_init[self.subcommand].run.dir
        lock = Path(folder) / f".{self.subcommand}.lock"
        self._held.enter_context(locked(lock, f"videonl {self.subcommand} runs in {folder}"))

    def instantiate_classes(self) -> None:
        """Builds everything; the package of a configured logger may be missing."""
        try:
            super().instantiate_classes()
        except (ModuleNotFoundError, ValueError) as error:  # the parser makes the one the other
            if "Neither `tensorboard`" in str(error):
                raise missing_tensorboard() from error
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds the run's loggers, checkpoints and reports to those of the configuration."""
        data: ClipDataModule = self.datamodule
        data.setup(str(self.subcommand))  # what it refuses, it refuses before anything is written
        config = self.config_init[self.subcommand]
        run: Run = config.run
        refuse_within(run.checkpoints, data.files())
        progress = config.trainer.enable_progress_bar is not False
        logs = config.trainer.logger is not False
        require_usable(config.trainer.callbacks or [])
        ours = callbacks(run, data, str(self.subcommand), self.model.task.monitor, progress, logs, config.ckpt_path)
        every = [*(config.trainer.callbacks or []), *ours]
        kwargs["enable_progress_bar"] = any(isinstance(callback, ProgressBar) for callback in every)
        kwargs["enable_model_summary"] = is_verbose()
        kwargs["plugins"] = [*(config.trainer.plugins or []), WholeCheckpoints()]
        config.trainer.callbacks = every
        if config.trainer.logger is None:
            settings = self.config[self.subcommand].as_dict()
            kwargs["logger"] = loggers(run, str(self.subcommand), self._continued, settings)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, RuntimeError, TypeError) as error:  # what the Trainer refuses: an accelerator not there
            raise UserError(str(error)) from error
        self.model.fold = run.fold
        trainer.loggers = [guarded(logger) for logger in trainer.loggers]
        if run.keep_memory and isinstance(trainer.accelerator, CPUAccelerator):
            keep_freed_memory()
        return trainer

    def before_fit(self) -> None:
        """Prepares the run's folder after all checks, and loads the initial weights."""
        module: ClipModule = self.model
        config = self.config_init[self.subcommand]
        self._check_data()
        self._check_synchronization(module.network)
        if not config.trainer.fast_dev_run or config.ckpt_path is not None:
            self._lock()
            config.ckpt_path = begin_or_resume(config.run, config.ckpt_path, module.weights)
        self._introduce()
        if module.weights is None or config.ckpt_path is not None:
            return
        if not isinstance(module.network, ClipClassifier):
            raise UserError(f"model.weights is for networks of videonl, not for {type(module.network).__name__}")
        weights = find_weights(module.weights, module.network)
        for sentence in load_into(module.network, weights, asdict(module.clip)):
            _say(sentence)

    def before_validate(self) -> None:
        """Rejects a validation without videos."""
        if "val" not in self.datamodule.videos:
            raise UserError("no val videos were given. Set --data.val to a folder or a list file.")
        self.before_test()

    def before_test(self) -> None:
        """Keeps others from writing the same results."""
        self._lock()
        self._introduce()

    before_predict = before_test

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the subcommand; the metric of early stopping is known only once it has been logged."""
        try:
            with naming_shared_memory():
                super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if str(error).startswith("Early stopping conditioned on metric"):
                raise UserError(str(error)) from error
            raise
        except SIGTERMException as error:
            raise TerminatedError from error
        except SystemExit as ended:  # the trainer's own answer to Ctrl-C
            if isinstance(ended.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from ended
            raise
        if self.trainer.received_sigterm:  # within the last step
            raise TerminatedError

    def _check_data(self) -> None:
        """Rejects data with a single class, and Lightning's flag that replaces our order of videos."""
        if self.datamodule.num_classes < 2:
            raise UserError(
                f"there is only one class, {self.datamodule.class_names[0]}; a source is a folder of class folders or "
                "a list: check --data.train"
            )
        trainer = self.config_init[self.subcommand].trainer
        if trainer.overfit_batches:
            raise UserError(
                "trainer.overfit_batches is not supported with videonl's order of videos; to overfit a network, set "
                "--data.train to a list of a few videos"
            )
        if "train" in self.datamodule.videos:
            require_validations(trainer.as_dict(), len(self.datamodule.training_loader()))
            require_multigrid(self.model.network, self.datamodule, self.trainer)

    def _check_synchronization(self, network: nn.Module) -> None:
        """Rejects Lightning's synchronized norms if they would replace frozen or affine ones."""
        if not self.config_init[self.subcommand].trainer.sync_batchnorm:
            return
        mode = network.settings["batch_norm"] if isinstance(network, ClipClassifier) else "trained"
        if mode in ("frozen", "affine"):
            raise UserError(f"trainer.sync_batchnorm would replace the norms of batch_norm: {mode}; remove it")
        if isinstance(self.trainer.accelerator, CPUAccelerator):
            raise UserError("trainer.sync_batchnorm requires GPUs; use batch_norm: synchronized of the network")

    @rank_zero_only
    def _introduce(self) -> None:
        config = self.config_init[self.subcommand]
        print_header(str(self.subcommand), self.model, self.datamodule, config.run.dir, config.ckpt_path)

    def after_fit(self) -> None:
        """Ends the loggers, and prints the results of the training."""
        self._close_loggers()
        config = self.config_init[self.subcommand]
        if self.trainer.is_global_zero and not config.trainer.fast_dev_run and not self.trainer.received_sigterm:
            print_closing(self.trainer, config.run)

    def _close_loggers(self) -> None:
        for logger in self.trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()

    def _end_evaluation(self) -> None:
        """Ends with an error if videos could not be read; everything is written by then."""
        self._close_loggers()
        module: ClipModule = self.model
        if self.trainer.is_global_zero:  # another process that failed would end this one while it writes
            require_readable(module.unreadable, len(module.scores), self.datamodule.loading.max_failed_share)

    after_validate = after_test = after_predict = _end_evaluation


@rank_zero_only
def _say(sentence: str) -> None:
    logging.getLogger("videonl").info(sentence)
