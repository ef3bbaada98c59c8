"""The wrapper that puts a block behind a residual, and how a block gets the features of an earlier stage."""

from typing import Any

from torch import Tensor, nn

from videonl.blocks import AttentionBlock
from videonl.errors import UserError


class Handover:
    """Carries what leaves a low stage to one block higher up, within a forward.

    Its ``keep`` is a forward hook of the low residual, its ``hand_over`` a forward pre-hook of the block's wrapper. So
    the features are an argument of the wrapper, which may be recomputed (gradient checkpointing) with or without the
    low residual. It is no module, so it leaves no trace in a ``state_dict``. A copy or pickle of the network gets a
    handover of its own, empty.

    Limits: the low residual must run before the block in the same forward; and replicas that run at the same time in
    one process (``nn.DataParallel``) would share it, where those of ``DistributedDataParallel`` do not.
    """

    def __init__(self) -> None:
        self.features: Tensor | None = None

    def keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Keeps what leaves the low residual; a forward hook."""
        self.features = output

    def hand_over(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        """Adds the features to a module's inputs and forgets them, so that they live no longer than needed.

        Raises:
            RuntimeError: When the low residual has not run since the last time.
        """
        features, self.features = self.features, None
        if features is None:
            raise RuntimeError("the low stage of a block has not run in this forward pass; run the whole network")
        return *inputs, features

    def __getstate__(self) -> dict[str, None]:
        return {"features": None}


class InsertedAfter(nn.Module):
    """A residual unit followed by a block, invisible in the ``state_dict``.

    The residual's keys stay as they were without the wrapper, so checkpoints of the plain backbone load unchanged; the
    block's keys follow under ``block.``.

    Args:
        residual: The unit that runs first.
        block: What follows it.
        low: Where the features of an earlier stage come from, for a block that reads one.
    """

    def __init__(self, residual: nn.Module, block: AttentionBlock, low: Handover | None = None) -> None:
        super().__init__()
        if hasattr(residual, "block"):
            name = type(residual).__name__
            raise UserError(
                f"no block can follow a {name}: it has a member named 'block', the name of the inserted one"
            )
        self.residual = residual
        self.block = block
        self.low = low
        if low is not None:
            self.register_forward_pre_hook(low.hand_over)
        self.register_state_dict_post_hook(_hide_wrapper)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.register_load_state_dict_pre_hook(_restore_wrapper)  # type: ignore[no-untyped-call]  # likewise

    def __getattr__(self, name: str) -> Any:
        """What the wrapper has not itself is the residual's: paths of the plain network lead through a whole stage."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("residual"), name)

    def forward(self, x: Tensor, *low: Tensor) -> Tensor:
        """Runs the residual, then the block, which also gets the features of the low stage where it reads one."""
        z: Tensor = self.block(self.residual(x), *low)
        return z


def _hide_wrapper(module: nn.Module, state: dict[str, Any], prefix: str, metadata: object) -> None:
    hidden = f"{prefix}residual."
    for key in [key for key in state if key.startswith(prefix)]:
        # Every key of the prefix is put back, so that their order stays that of the modules.
        value = state.pop(key)
        state[prefix + key.removeprefix(hidden) if key.startswith(hidden) else key] = value


def _restore_wrapper(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for key in [key for key in state if key.startswith(prefix) and not key.startswith(f"{prefix}block.")]:
        state[f"{prefix}residual.{key.removeprefix(prefix)}"] = state.pop(key)
