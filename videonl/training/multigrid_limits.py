"""What a multigrid training requires of its network and trainer."""

from lightning.pytorch import Trainer
from torch import nn

from videonl.data.datamodule import ClipDataModule
from videonl.errors import UserError
from videonl.profiling import require_clip


def require_multigrid(network: nn.Module, data: ClipDataModule, trainer: Trainer) -> None:
    """Refuses a multigrid training of unknown length, or with clips too small for the network.

    Raises:
        UserError: Naming the clip and the least number of frames, or of pixels, that does.
    """
    schedule = data.multigrid_schedule(trainer)
    if schedule is None:
        return
    for grid in {shape.grid: None for phase in schedule.phases for shape in phase.shapes}:
        try:
            require_clip(network, (grid.num_frames, grid.crop_px, grid.crop_px))
        except UserError as error:
            raise UserError(
                f"data.multigrid has clips of {grid.num_frames} frames and {grid.crop_px} px, but {error}. Raise the "
                "fractions of long_cycle and short_cycle, or data.clip"
            ) from error
