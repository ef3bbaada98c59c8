"""What several commands refuse in the same words."""

from torch import Tensor

from videonl.errors import UserError


def require_at_least(least: int, **options: float) -> None:
    """Refuses options, by their names, that are less.

    Raises:
        UserError: Naming option and value.
    """
    for name, value in options.items():
        if value < least:
            raise UserError(f"--{name} must be at least {least}, got {value}")


def require_finite_scores(scores: Tensor, checkpoint: str) -> None:
    """Refuses a network's scores of a video that are not numbers.

    Raises:
        UserError: Naming the checkpoint.
    """
    if not scores.isfinite().all():
        raise UserError(
            f"the network of {checkpoint} gives this video scores that are not finite: its weights hold NaN, or "
            "numbers became too large; take another checkpoint"
        )
