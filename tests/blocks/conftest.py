"""Blocks that are past their initialisation."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

Awaken = Callable[[nn.Module], nn.Module]


@pytest.fixture
def awaken() -> Awaken:
    """Give every parameter and running statistic a random value, so that nothing hides behind a gamma of zero."""

    def randomise(block: nn.Module, seed: int = 3) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
            for name, buffer in block.named_buffers():
                if name.endswith("running_mean"):
                    buffer.copy_(torch.randn(buffer.shape, generator=generator))
                if name.endswith("running_var"):
                    buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
        return block

    return randomise
