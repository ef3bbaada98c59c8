"""The bar of a training."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import ProcessingSpeedColumn, RichProgressBarTheme
from rich.progress import BarColumn

BAR_WIDTH = 10


class TrainingBar(RichProgressBar):
    """Shows the loss of the last step and what the last validation says, which fit into a line of 80 columns.

    All else that is logged is in ``metrics.csv`` and the other logs.

    Args:
        monitor: The metric of the validation, such as ``val/top1``.
    """

    def __init__(self, monitor: str) -> None:
        super().__init__(theme=RichProgressBarTheme(metrics_format=".3f"), console_kwargs={"stderr": True})
        self.shown = {"train/loss_step": "loss", monitor: "val"}

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """A short bar and no speed, which the logs have: there is room for the numbers."""
        columns = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = BAR_WIDTH
        return [column for column in columns if not isinstance(column, ProcessingSpeedColumn)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        return {short: metrics[name] for name, short in self.shown.items() if name in metrics}
