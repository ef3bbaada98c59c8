"""The bar of a training."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import ProcessingSpeedColumn, RichProgressBarTheme
from rich.progress import BarColumn

BAR_WIDTH = 10
SHOWN = {"train/loss_step": "loss", "val/top1": "val"}


class TrainingBar(RichProgressBar):
    """Shows the loss of the last step and the last validation's top-1, which fit into a line of 80 columns.

    All else that is logged is in ``metrics.csv`` and the other logs.
    """

    def __init__(self) -> None:
        super().__init__(theme=RichProgressBarTheme(metrics_format=".3f"))

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
        return {short: metrics[name] for name, short in SHOWN.items() if name in metrics}
