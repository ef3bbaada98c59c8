"""Blocks that are past their initialization."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

Awaken = Callable[[nn.Module], nn.Module]
GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"


@pytest.fixture
def awaken() -> Awaken:
    """Give every parameter and running statistic a random value, so that nothing hides behind a gamma of zero."""

    def randomize(block: nn.Module, seed: int = 3) -> nn.Module:
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

    return randomize


@pytest.fixture
def load_golden() -> Callable[[nn.Module, str, dict[str, str]], dict[str, Tensor]]:
    """Give a block the weights of a public implementation; returns its inputs and output. Skips where they are absent.

    ``names`` maps the public names of modules and parameters to the block's. Weights of 2D blocks get a third axis.
    """

    def load(block: nn.Module, case: str, names: dict[str, str]) -> dict[str, Tensor]:
        path = GOLDEN / f"{case}.npz"
        if not path.is_file():
            pytest.skip(f"{path} is absent")
        tensors = {key: torch.from_numpy(value) for key, value in np.load(path).items()}
        own = block.state_dict()
        state = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
        for key in [key for key in tensors if key.startswith("state.")]:
            module, _, parameter = key.removeprefix("state.").rpartition(".")
            name = f"{names[module]}.{parameter}" if module else names[parameter]
            state[name] = tensors.pop(key).reshape(own[name].shape)
        block.load_state_dict(state)
        return tensors

    return load
