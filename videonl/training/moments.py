"""Mean and variance of values that come in parts."""

import torch
from torch import Tensor, nn


class Moments:
    """Count, mean and sum of squared deviations of each channel, of all that a norm is given.

    Merged by the formula of Chan, Golub and LeVeque (1979), which does not cancel.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None  # (3, C): count, mean, squares

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Adds an input (B, C, ...); a forward pre-hook."""
        x = inputs[0].float() if inputs[0].dtype in (torch.float16, torch.bfloat16) else inputs[0]
        variance, mean = torch.var_mean(x, dim=[axis for axis in range(x.ndim) if axis != 1], correction=0)
        count = torch.full_like(mean, x.numel() // x.shape[1])
        new = torch.stack([count, mean, variance * count])
        self.total = new if self.total is None else merged(self.total, new)


def merged(some: Tensor, others: Tensor) -> Tensor:
    """The moments (3, C) of two sets of values together."""
    count = some[0] + others[0]
    difference, share = others[1] - some[1], others[0] / count
    return torch.stack([count, some[1] + difference * share, some[2] + others[2] + difference**2 * some[0] * share])
