"""What several commands refuse in the same words."""

import math

from torch import Tensor

from videonl.errors import UserError, require_within


def require_at_least(least: int, most: float = math.inf, **options: float | None) -> None:
    """Refuses options, by their names, that are less, more, or no number; None is an option that is not given.

    Raises:
        UserError: Naming option and value.
    """
    require_within(least, most, **{f"--{name}": value for name, value in options.items()})


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
