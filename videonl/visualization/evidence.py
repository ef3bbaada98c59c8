"""Which places of a clip speak for a class: Grad-CAM over spacetime."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from videonl.errors import UserError
from videonl.names import shortened
from videonl.visualization.features import clip_size, evaluating
from videonl.visualization.grid import Position


@dataclass(frozen=True)
class EvidenceMap:
    """How much each place of a clip speaks for a class, or below 0 against it.

    Attributes:
        class_name: the class, for people.
        class_index: its place among the logits.
        probability: what the network gives the class for this clip, by the softmax of its logits.
        layer: whose features are weighed.
        values: (T, H, W) over the cells of the layer's output, float32 on the CPU. Where the rest of the network is an
            average over all cells and a linear layer, they sum to the class's logit without its bias.
    """

    class_name: str
    class_index: int
    probability: float
    layer: str
    values: Tensor

    quantity: ClassVar[str] = "evidence"
    cell: ClassVar[None] = None

    @property
    def title(self) -> str:
        """What is shown, or that there is nothing."""
        return f"evidence for {shortened(self.class_name)}" + ("" if self.values.max() > 0 else ": none above 0")

    @property
    def details(self) -> str:
        """The layer and the network's opinion."""
        cells = " x ".join(map(str, self.grid))
        return f"Grad-CAM at {self.layer}    grid: {cells}    probability: {self.probability:.3f}"

    @property
    def grid(self) -> Position:
        """(T, H, W) of the layer's output, in cells."""
        t, y, x = self.values.shape
        return t, y, x


def evidence_maps(
    network: nn.Module, layer: str, clip: Tensor, classes: Mapping[int, str], name: str | None = None
) -> list[EvidenceMap]:
    """Asks a network which places of a clip speak for some classes.

    The network runs in evaluation mode; its gradients, training flags and hooks are as before when this returns or
    raises.

    Args:
        network: takes ``clip`` and returns logits (1, K).
        layer: the path of the module of ``network`` whose output is weighed.
        clip: (1, C, T, H, W), normalised, on the network's device.
        classes: names by index.
        name: of the layer, for people; its path when not given.

    Returns:
        A map for each of ``classes``.

    Raises:
        UserError: the layer does not run or puts out no (B, C, T, H, W), or the evidence is not finite.
        ValueError: ``clip`` is not one clip.
    """
    clip_size(clip)
    name, module = name or layer, network.get_submodule(layer)
    probabilities = _require_grid(network, module, clip, name).double().softmax(dim=0)
    maps = []
    for index, class_name in classes.items():
        values = class_evidence(network, module, clip, index).float().cpu()
        if not values.isfinite().all():
            raise UserError(f"the evidence for {class_name!r} at {name} is not finite; try another checkpoint or layer")
        maps.append(EvidenceMap(class_name, index, float(probabilities[index]), name, values))
    return maps


def class_evidence(network: nn.Module, layer: nn.Module, clip: Tensor, index: int) -> Tensor:
    """Grad-CAM of one class, without its final ReLU: what speaks against the class stays, below 0.

    Each channel of a layer's output counts by the mean over all cells of the gradient of the class's logit, and a
    cell's evidence is the sum over its channels. Source: Selvaraju et al. 2017, equations 1 and 2, arXiv:1610.02391,
    here over time, height and width; computed by Captum.

    Args:
        network: takes ``clip`` and returns logits (1, K).
        layer: the module of ``network`` whose output is weighed.
        clip: (1, C, T, H, W), normalised, on the network's device.
        index: of the class.

    Returns:
        (T', H', W') over the cells of the layer's output, in the clip's precision.
    """
    # Imported here because Captum takes half a second to import, and most never ask for evidence.
    from captum.attr import LayerGradCam

    # Gradients are wanted whatever the caller switched off, and through the clip, since all weights may be frozen.
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network):
        evidence: Tensor = LayerGradCam(network, layer).attribute(clip.clone().requires_grad_(), target=index)
    return evidence.detach()[0, 0]


def _require_grid(network: nn.Module, layer: nn.Module, clip: Tensor, name: str) -> Tensor:
    """Runs the network; logits (K,)."""
    outputs: list[Any] = []
    handle = layer.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        with torch.inference_mode(), evaluating(network):
            logits: Tensor = network(clip)[0]
    finally:
        handle.remove()
    if not outputs:
        raise UserError(f"no evidence can be had at {name}: the network does not run it")
    if not isinstance(outputs[-1], Tensor) or outputs[-1].ndim != 5:
        found = f"shape {tuple(outputs[-1].shape)}" if isinstance(outputs[-1], Tensor) else type(outputs[-1]).__name__
        raise UserError(f"no evidence can be had at {name}: it puts out {found}; choose a layer of (B, C, T, H, W)")
    if not isinstance(layer, nn.Conv3d) and _has_channels_last(network, outputs[-1]):
        raise UserError(
            f"no evidence can be had at {name}: it puts its channels last, (B, T, H, W, C), as layers of transformers "
            "do; choose a layer of (B, C, T, H, W)"
        )
    return logits


def _has_channels_last(network: nn.Module, features: Tensor) -> bool:
    """Whether the network norms over the last axis of features (B, T, H, W, C), as Swin does, and no CNN."""
    norms = (module for module in network.modules() if isinstance(module, nn.LayerNorm))
    return any(tuple(norm.normalized_shape) == features.shape[-1:] for norm in norms)


def last_features(network: nn.Module, clip: Tensor) -> str:
    """The path of the last features on a grid, for networks whose stages have no names.

    They are those of the outermost module that ends on the grid of the last convolution over neighbouring cells: those
    of one cell alone may belong to the head, after a pool.

    Args:
        network: takes ``clip``.
        clip: (1, C, T, H, W), normalised, on the network's device.

    Raises:
        UserError: there is no such convolution.
    """
    grids: dict[str, tuple[int, ...]] = {}  # in the order in which modules end

    def hook(path: str) -> Any:
        def call(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 5:
                grids.pop(path, None)  # the last time counts
                grids[path] = tuple(output.shape[2:])

        return call

    modules = dict(network.named_modules())
    handles = [module.register_forward_hook(hook(path)) for path, module in modules.items() if path]
    try:
        with torch.inference_mode(), evaluating(network):
            network(clip)
    finally:
        for handle in handles:
            handle.remove()
    convolutions = [path for path in grids if _sees_neighbours(modules[path])]
    if not convolutions:
        raise UserError(
            "the network has no convolution over neighbouring cells, whose features could be weighed; name a layer by "
            "--evidence_layer"
        )
    return _outermost(convolutions[-1], grids)


def _sees_neighbours(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d) and max(module.kernel_size) > 1


def _outermost(path: str, grids: Mapping[str, tuple[int, ...]]) -> str:
    grid = grids[path]
    while (holder := path.rpartition(".")[0]) and grids.get(holder) == grid:
        path = holder
    return path
