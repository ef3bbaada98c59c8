"""What each part of a network puts out and costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from videonl.profiling.imitation import imitate
from videonl.profiling.operations import operation_counter

Hooks = list[Any]
# Keys of rows that are no stage; a stage or module may have any name, also one of those that these are shown by.
STEM, HEAD, REST = "<stem>", "<head>", "<not run>"


@dataclass
class Row:
    """One part of a network.

    Attributes:
        name: ``stem``, a stage or module, the place of a block, ``head``; ``not run`` has parameters that no forward
            uses, ``network`` all those of a network without modules.
        block: The class of the block, for a block.
        output: Size of what it puts out for one clip: (C, T, H, W), of the head (num_classes,).
        parameters: How many numbers it holds; those of blocks are not counted with their stage.
        macs: Multiply-adds of one clip in evaluation.
    """

    name: str
    block: str | None = None
    output: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0


def profile_network(
    network: nn.Module, stages: Mapping[str, Sequence[str]], blocks: Mapping[str, nn.Module], clip: tuple[int, int, int]
) -> list[Row]:
    """Runs one clip through a network by shapes alone.

    Args:
        network: Maps clips (B, 3, T, H, W) to logits. It may be on the meta device.
        stages: Module paths by stage, in the order in which they run. What runs before the first is the stem, what runs
            after the last the head; what runs between two counts with the later one. Of a network without stages the
            parts are its own modules.
        blocks: Inserted blocks by name.
        clip: (T, H, W).

    Returns:
        One row for each part, in the order in which a clip meets them. Their sums are those of the network.
    """
    with imitate(network) as imitation, operation_counter() as counter, torch.no_grad():
        ledger = _Ledger(counter)
        hooks = ledger.follow(network, stages or {path: (path,) for path in parts(network)}, blocks)
        try:
            logits = imitation.run((1, 3, *clip))
        finally:
            for hook in hooks:
                hook.remove()
    return ledger.close(network, tuple(logits.shape[1:]))


def parts(network: nn.Module) -> list[str]:
    """The paths of the outermost modules with parameters, of which a network has at least two.

    Examples:
        >>> wrapped = nn.Sequential(nn.Sequential(nn.Conv3d(3, 5, 1), nn.ReLU(), nn.ModuleList([nn.Linear(5, 7)])))
        >>> parts(wrapped)
        ['0.0', '0.2.0']
    """
    paths = _within(network, "")
    while len(paths) == 1 and (deeper := _within(network.get_submodule(paths[0]), f"{paths[0]}.")):
        paths = deeper
    return paths


def _within(module: nn.Module, prefix: str) -> list[str]:
    paths = []
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):  # which no forward calls
            paths += _within(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            paths.append(f"{prefix}{name}")
    return paths


class _Ledger:
    """Books what a forward counts, and whose parameters it uses, to the part of the network that it is in."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter
        self.rows: dict[str, Row] = {STEM: Row("stem")}
        self.within = [STEM]  # where the forward is: a part, and perhaps a block in it
        self.booked = 0
        self.owners: dict[int, str] = {}  # of parameters, by id

    def follow(self, network: nn.Module, stages: Mapping[str, Sequence[str]], blocks: Mapping[str, nn.Module]) -> Hooks:
        """Hooks itself into a network."""
        hooks: Hooks = []
        for name, block in blocks.items():
            hooks += self._follow_block(f"{name} {type(block).__name__}", Row(name, type(block).__name__), block)
        for stage, paths in stages.items():
            for path in paths:
                hooks += self._follow_unit(stage, network.get_submodule(path), last=path == paths[-1])
        for module in network.modules():
            own = [id(parameter) for parameter in module.parameters(recurse=False) if id(parameter) not in self.owners]
            if own:
                hooks.append(module.register_forward_pre_hook(self._owning(own)))
        return hooks

    def close(self, network: nn.Module, logits: tuple[int, ...]) -> list[Row]:
        """The rows, when the forward is over."""
        self._book()
        self.rows[self.within[0]].output = logits
        for parameter in network.parameters():
            owner = self.owners.get(id(parameter), REST)
            self.rows.setdefault(owner, Row("not run")).parameters += parameter.numel()
        if len(self.rows) == 1:
            self.rows[STEM].name = "network"
        return [row for key, row in self.rows.items() if key not in (STEM, HEAD) or row.parameters or row.macs]

    def _book(self) -> None:
        counted = int(self.counter.get_total_flops()) // 2
        self.rows[self.within[-1]].macs += counted - self.booked
        self.booked = counted

    def _follow_block(self, key: str, row: Row, block: nn.Module) -> Hooks:
        self.owners |= {id(parameter): key for parameter in block.parameters()}

        def enter(module: nn.Module, inputs: Any) -> None:
            self._book()
            self.rows.setdefault(key, row)
            self.within.append(key)

        def leave(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._book()
            self.within.pop()
            row.output = tuple(output.shape[1:])

        return [block.register_forward_pre_hook(enter), block.register_forward_hook(leave)]

    def _follow_unit(self, stage: str, unit: nn.Module, last: bool) -> Hooks:
        for parameter in unit.parameters():
            self.owners.setdefault(id(parameter), stage)

        def enter(module: nn.Module, inputs: Any) -> None:
            self._book()
            if self.within[0] == STEM:
                self.rows[STEM].output = _size(inputs)
            self._enter_stage(stage)

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self._book()
            self.rows[stage].output = _size(output)
            if last:  # until another stage begins
                self.within[0] = HEAD
                self.rows[HEAD] = Row("head")

        return [unit.register_forward_pre_hook(enter), unit.register_forward_hook(leave)]

    def _enter_stage(self, stage: str) -> None:
        self.within[0] = stage
        row = self.rows.setdefault(stage, Row(stage))
        if (between := self.rows.pop(HEAD, None)) is not None:
            row.macs += between.macs
            self.owners = {key: stage if owner == HEAD else owner for key, owner in self.owners.items()}

    def _owning(self, parameters: Sequence[int]) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            for parameter in parameters:
                self.owners.setdefault(parameter, self.within[0])

        return enter


def _size(value: Any) -> tuple[int, ...]:
    """Size for one clip of the first tensor in what a module takes or gives: some give its grid beside it."""
    if isinstance(value, Tensor):
        return tuple(value.shape[1:])
    return next(filter(None, map(_size, value)), ()) if isinstance(value, list | tuple) else ()
