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
    grids = [shape.grid for phase in schedule.phases for shape in phase.shapes]
    full_px = data.clip.crop_px  # first frames alone: where both are too few, no number of either does
    for frames, px in dict.fromkeys([(grid.num_frames, full_px) for grid in grids] + [grid[:2] for grid in grids]):
        try:
            require_clip(network, (frames, px, px))
        except UserError as error:
            raise UserError(
                f"data.multigrid has clips of {frames} x {px} x {px}, but {error}. Raise the fractions of long_cycle "
                "or short_cycle, or data.clip"
            ) from error
