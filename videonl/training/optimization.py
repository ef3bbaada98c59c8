"""The optimizer and its parameter groups, from plain data."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from videonl.errors import UserError, require_within
from videonl.training.layers import Layer, backbone_parameters, inserted_blocks, layers
from videonl.training.schedule import Schedule

MOST_LR = 1000
OPTIMIZERS = ("sgd", "adamw")
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Optimization(Schedule):
    """Settings of the optimizer, in addition to those of :class:`Schedule`.

    Attributes:
        optimizer: ``sgd`` (Nesterov) or ``adamw``.
        lr: Peak learning rate.
        lr_per_clips: Clips per step for which ``lr`` is given; the rate is scaled to the actual clips per step, of all
            processes and accumulated batches (Goyal et al. 2017, arXiv:1706.02677). Without it, ``lr`` is not scaled.
        layer_decay: Factor on the rate from layer to layer, from the head down to the stem; blocks have the rate of
            their stage. 1 is the same rate everywhere.
        backbone_factor: Factor on the rate of the backbone: of all but the head and the inserted blocks, which are new
            where the backbone is pretrained.
        block_factor: Factor on the rate of the inserted blocks.
        affinity_factor: Factor on the rate of ``theta`` and ``phi``, whose product a block's softmax takes. It
            multiplies with ``layer_decay`` and ``block_factor``. With AdamW and a rate of 1e-3 or more, 0.1 keeps the
            softmax from saturating; see docs/diagnostics.md.
        weight_decay: Weight decay; not applied to norms and biases.
        momentum: Momentum of SGD.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    lr_per_clips: int | None = None
    layer_decay: float = 1.0
    backbone_factor: float = 1.0
    block_factor: float = 1.0
    affinity_factor: float = 1.0
    weight_decay: float = 1e-4
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if not 0 < self.lr <= MOST_LR:
            raise UserError(f"lr must be above 0 and at most {MOST_LR}, got {self.lr}")
        require_within(1, 10**6, lr_per_clips=self.lr_per_clips)
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        for name in ("backbone_factor", "block_factor", "affinity_factor"):
            if not 0 < getattr(self, name) <= MOST_LR:
                raise UserError(f"{name} must be above 0 and at most {MOST_LR}, got {getattr(self, name)}")
        require_within(0, 100, weight_decay=self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must be at least 0 and below 1, got {self.momentum}")

    def scaled_to(self, num_clips: int) -> "Optimization":
        """The same with the rate for steps of this many clips.

        >>> Optimization(lr=0.01, lr_per_clips=64).scaled_to(16).lr
        0.0025
        """
        if self.lr_per_clips is None:
            return self
        return replace(self, lr=self.lr * num_clips / self.lr_per_clips, lr_per_clips=num_clips)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Splits the trainable parameters into those that decay and those, of norms and all biases, that do not."""
    spared = _without_decay(module)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return _split(trainable, spared, weight_decay)


def layer_groups(module: nn.Module, settings: Optimization) -> list[dict[str, Any]]:
    """The same two groups for each layer of a network, with its learning rate; blocks apart if theirs is another.

    Source: the "discriminative fine-tuning" of Howard and Ruder 2018, arXiv:1801.06146, section 3.1.

    Returns:
        Named groups from the stem to the head, all layers as one where they have the same rate; those without
        parameters are left out.
    """
    spared, found, parts = _without_decay(module), layers(module), _parts(module, settings)
    if settings.layer_decay == settings.backbone_factor == 1:
        found = [Layer("network", [parameter for layer in found for parameter in layer.parameters])]
    groups = []
    for distance, layer in zip(range(len(found) - 1, -1, -1), found, strict=True):
        rate = settings.lr * settings.layer_decay**distance
        members: dict[tuple[str, float], list[nn.Parameter]] = {}
        for parameter in layer.parameters:
            if parameter.requires_grad:
                members.setdefault(parts.get(id(parameter), ("", 1.0)), []).append(parameter)
        for (part, factor), parameters in sorted(members.items()):
            split = zip(("", ", no decay"), _split(parameters, spared, settings.weight_decay), strict=True)
            name = f"{layer.name}{part}"
            groups += [
                {**group, "lr": rate * factor, "name": f"{name}{what}"} for what, group in split if group["params"]
            ]
    return groups


def _parts(module: nn.Module, settings: Optimization) -> dict[int, tuple[str, float]]:
    """By identity of a parameter, the part of its layer that it belongs to, and the factor on the layer's rate."""
    parts = {id(parameter): ("", settings.backbone_factor) for parameter in backbone_parameters(module)}
    for block in inserted_blocks(module):
        name = " blocks" if settings.backbone_factor != 1 or settings.block_factor != 1 else ""
        parts |= {id(parameter): (name, settings.block_factor) for parameter in block.parameters()}
        affinities = getattr(block, "affinity_parameters", list)  # a network of one's own may have other modules
        if settings.affinity_factor != 1:
            factor = settings.block_factor * settings.affinity_factor
            parts |= {id(parameter): (" affinities", factor) for parameter in affinities()}
    return parts


def build_optimizer(module: nn.Module, settings: Optimization) -> Optimizer:
    """Builds SGD with Nesterov momentum or AdamW over a module's parameters."""
    factors = (settings.layer_decay, settings.backbone_factor, settings.block_factor, settings.affinity_factor)
    plain = all(factor == 1 for factor in factors)
    groups = parameter_groups(module, settings.weight_decay) if plain else layer_groups(module, settings)
    if settings.optimizer == "adamw":
        return AdamW(groups, lr=settings.lr)
    # Nesterov's rule is not defined without momentum.
    return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)


def _split(trainable: list[nn.Parameter], spared: Collection[int], weight_decay: float) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in trainable if id(parameter) not in spared]
    kept = [parameter for parameter in trainable if id(parameter) in spared]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _without_decay(module: nn.Module) -> set[int]:
    """Identities of the parameters of norms, and of all biases."""
    norms = {id(parameter) for part in module.modules() if isinstance(part, NORMS) for parameter in part.parameters()}
    return norms | {id(parameter) for name, parameter in module.named_parameters() if name.endswith("bias")}
