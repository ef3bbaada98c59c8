"""Evidence for a class at each place of a clip: Grad-CAM over spacetime."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from videonl.errors import UserError
from videonl.names import shortened
from videonl.visualization.features import Observation, evaluating, observe
from videonl.visualization.grid import Position


@dataclass(frozen=True)
class EvidenceMap:
    """The evidence for a class at each place of a clip; below 0 it is against the class.

    Attributes:
        class_name: the name of the class.
        class_index: its index among the logits.
        probability: of the class for this clip, by the softmax of the logits.
        layer: the name of the layer.
        values: (T, H, W) over the cells of the layer's output, float32 on the CPU. If the rest of the network is an
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
        """The title, or that there is no positive evidence."""
        return f"evidence for {shortened(self.class_name)}" + ("" if self.values.max() > 0 else ": none above 0")

    @property
    def details(self) -> str:
        """The layer, its grid, and the probability of the class."""
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
    """Computes the evidence of a clip for some classes.

    The network runs in evaluation mode; its gradients, training flags and hooks are as before when this returns or
    raises.

    Args:
        network: takes ``clip`` and returns logits (1, K).
        layer: the path of a module of ``network``.
        clip: (1, C, T, H, W), normalized, on the network's device.
        classes: names by index.
        name: of the layer; its path if not given.

    Returns:
        A map for each of ``classes``.

    Raises:
        UserError: the layer is not executed, its output is not (B, C, T, H, W), or the evidence is not finite.
        ValueError: ``clip`` is not one clip.
    """
    module = network.get_submodule(layer)
    return evidence_of(observe(network, {}, clip, module), network, module, name or layer, classes)


def evidence_of(
    seen: Observation, network: nn.Module, layer: nn.Module, name: str, classes: Mapping[int, str]
) -> list[EvidenceMap]:
    """Evidence for some classes from an observation of the layer.

    Args:
        seen: one forward pass of the network.
        network: the network.
        layer: the observed module.
        name: of the layer.
        classes: names by index.

    Returns:
        A map for each of ``classes``.

    Raises:
        UserError: as :func:`evidence_maps`.
    """
    features = _require_grid(seen, network, layer, name)
    probabilities = seen.logits[0].detach().double().softmax(dim=0)
    maps = []
    for index, class_name in classes.items():
        values = grad_cam(features, seen.logits, index).float().cpu()
        if not values.isfinite().all():
            raise UserError(f"the evidence for {class_name!r} at {name} is not finite; try another checkpoint or layer")
        maps.append(EvidenceMap(class_name, index, float(probabilities[index]), name, values))
    return maps


def grad_cam(features: Tensor, logits: Tensor, index: int) -> Tensor:
    """Grad-CAM of one class without the final ReLU: evidence against the class stays, below 0.

    The weight of each channel of a layer's output is the mean over all cells of the gradient of the class's logit, and
    a cell's evidence is the weighted sum over its channels. Source: Selvaraju et al. 2017, equations 1 and 2,
    arXiv:1610.02391, here over time, height and width.

    Args:
        features: the layer's output, (1, C, T', H', W'), a leaf of the logits' graph.
        logits: (1, K).
        index: of the class.

    Returns:
        (T', H', W') over the cells of the layer's output, in its precision.
    """
    # Whatever the caller switched off.
    with torch.inference_mode(False), torch.enable_grad():
        (gradient,) = torch.autograd.grad(logits[0, index], features, retain_graph=True, allow_unused=True)
    if gradient is None:  # the class does not depend on the layer
        gradient = torch.zeros_like(features)
    weights = gradient.mean(dim=(2, 3, 4), keepdim=True)
    return (weights * features.detach()).sum(dim=1)[0]


def _require_grid(seen: Observation, network: nn.Module, layer: nn.Module, name: str) -> Tensor:
    """The output of the layer when it last ran: (1, C, T', H', W')."""
    if not seen.outputs:
        raise UserError(f"cannot compute evidence at {name}: the module was not executed")
    output = seen.outputs[-1]
    if not isinstance(output, Tensor) or output.ndim != 5:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UserError(f"cannot compute evidence at {name}: its output is {found}; choose a layer of (B, C, T, H, W)")
    if not isinstance(layer, nn.Conv3d) and has_channels_last(network, output):
        raise UserError(
            f"cannot compute evidence at {name}: its output is channels-last, (B, T, H, W, C), as in transformers; "
            "choose a layer of (B, C, T, H, W)"
        )
    return output


def has_channels_last(network: nn.Module, features: Tensor) -> bool:
    """Whether the network norms over the last axis of features (B, T, H, W, C), as Swin does, and no CNN."""
    norms = (module for module in network.modules() if isinstance(module, nn.LayerNorm))
    return any(tuple(norm.normalized_shape) == features.shape[-1:] for norm in norms)


def last_features(network: nn.Module, clip: Tensor) -> str:
    """The path of the last features on a grid, for networks whose stages have no names.

    The module is the outermost one that ends on the grid of the last convolution over neighboring cells: pointwise
    convolutions may belong to the head, after a pool.

    Args:
        network: takes ``clip``.
        clip: (1, C, T, H, W), of which only the shape and the precision matter.

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
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        shapes = {name: torch.empty_like(value, device="meta") for name, value in tensors.items()}
        with torch.no_grad(), evaluating(network):  # shapes alone: nothing is computed
            torch.func.functional_call(network, shapes, (torch.empty_like(clip, device="meta"),))
    finally:
        for handle in handles:
            handle.remove()
    convolutions = [path for path in grids if _sees_neighbors(modules[path])]
    if not convolutions:
        raise UserError(
            "the network has no convolution over neighboring cells to use by default; choose a layer with "
            "--evidence_layer"
        )
    return _outermost(convolutions[-1], grids)


def _sees_neighbors(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d) and max(module.kernel_size) > 1


def _outermost(path: str, grids: Mapping[str, tuple[int, ...]]) -> str:
    grid = grids[path]
    while (holder := path.rpartition(".")[0]) and grids.get(holder) == grid:
        path = holder
    return path
