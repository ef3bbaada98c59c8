"""What the layers of a network make of clips."""

from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

from videonl.backbones import Backbone
from videonl.errors import UserError
from videonl.inference.recognizer import Recognizer
from videonl.models import ClipClassifier
from videonl.models.conversion.engine import head_keys
from videonl.models.places import find_place
from videonl.visualization.evidence import has_channels_last

POOL = "pool"
Pool = Literal["mean", "none"]


class _SeenError(Exception):
    """Ends a forward pass that has shown what it should."""


class Layer:
    """What a layer of a network makes of views; the network runs no further.

    Args:
        recognizer: The network.
        name: ``pool`` for what the linear head sees; or a stage (``res4``), a residual (``res4.3``) or a module path.
        pool: ``mean`` averages over time and space, ``none`` keeps them.

    Attributes:
        module: The layer; for ``pool`` the linear head, whose input is taken.

    Raises:
        UserError: There is no such layer; the message lists those that there are.
    """

    def __init__(self, recognizer: Recognizer, name: str = POOL, pool: Pool = "mean") -> None:
        self.recognizer, self.name, self.pool = recognizer, name, pool
        self.module = linear_head(recognizer.network) if name == POOL else _module(recognizer.network, name)

    def __call__(self, views: Tensor, window: Tensor) -> Tensor:
        """Features (V, D) or (V, C, T, H, W), float32, of raw views (V, 3, T, H, W)."""
        # As Recognizer.logits_of_videos does: windows of one view all at once, the views of others by steps.
        most = len(views) if len(window.unique()) == len(views) else self.recognizer.views_per_step
        return torch.cat([self._features(part) for part in views.split(most)])

    def _features(self, views: Tensor) -> Tensor:
        seen: list[Any] = []

        def keep(value: Any) -> None:
            seen.append(value)
            raise _SeenError

        with ExitStack() as stack:
            stack.enter_context(self.recognizer.alone())
            stack.enter_context(torch.inference_mode())
            if self.name == POOL:
                handle = self.module.register_forward_pre_hook(lambda module, inputs: keep(inputs[0]))
            else:
                handle = self.module.register_forward_hook(lambda module, inputs, output: keep(output))
            stack.callback(handle.remove)
            try:
                self.recognizer.network(self.recognizer.inputs(views))
            except _SeenError:
                grid = self._on_grid(seen[0]).float()
                return grid.mean(dim=(2, 3, 4)) if self.pool == "mean" else grid
        raise UserError(f"the network does not run {self.name}; choose another layer")

    def _on_grid(self, features: Any) -> Tensor:
        """(V, C, T, H, W), of whatever the layer put out or the head sees."""
        if isinstance(features, Tensor) and isinstance(self.module, nn.Linear):  # takes and gives channels last
            grid = features.reshape(len(features), *(1,) * (5 - features.ndim), *features.shape[1:])
            return grid.permute(0, 4, 1, 2, 3)
        if not isinstance(features, Tensor) or features.ndim != 5:
            found = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
            raise UserError(f"{self.name} puts out {found}; choose a layer of (B, C, T, H, W)")
        if not isinstance(self.module, nn.Conv3d) and has_channels_last(self.recognizer.network, features):
            raise UserError(f"{self.name} puts its channels last, (B, T, H, W, C); choose a layer of (B, C, T, H, W)")
        return features


def linear_head(network: nn.Module) -> nn.Linear | nn.Conv3d:
    """The layer that makes logits of features: its weight has a row for each class.

    Raises:
        UserError: The network has none, or several.
    """
    keys = head_keys(network.settings) if isinstance(network, ClipClassifier) else set()
    paths = {key.rpartition(".")[0] for key in keys}
    heads = [network.network.get_submodule(path) for path in paths] if isinstance(network, ClipClassifier) else []
    if len(heads) == 1 and isinstance(heads[0], nn.Linear | nn.Conv3d):
        return heads[0]
    raise UserError(
        f"the network has no single linear head, so there is no layer {POOL}; name a stage or a module path"
    )


def _module(network: nn.Module, name: str) -> nn.Module:
    if not isinstance(network, ClipClassifier):
        raise UserError(f"only networks of videonl have named layers; {type(network).__name__} is not one")
    backbone = Backbone(network.network, {stage: tuple(paths) for stage, paths in network.stages.items()})
    try:
        return network.network.get_submodule(find_place(backbone, name, "layer").path)
    except UserError as error:
        raise UserError(f"{error}; or layer {POOL}, which is what the linear head sees") from error
