"""Backbones and blocks as plain data."""

import inspect
import re
from pathlib import Path
from typing import Any

import torch

from videonl.backbones import BACKBONES, backbone_options, build_backbone
from videonl.blocks import BLOCKS, AttentionBlock
from videonl.profiling import profile_network
from videonl.registry import import_module_named
from videonl.runtime.own_modules import find_own_modules

NUM_CLASSES = 400


def describe(module: str | None = None) -> dict[str, dict[str, Any]]:
    """All backbones and blocks by name.

    Args:
        module: A user's module, whose blocks and backbones are described instead. Its code runs.
    """
    own_blocks = _blocks_of(module) if module else []
    blocks, backbones = (
        [name for name in registry if registry.is_own(name) == (module is not None)] for registry in (BLOCKS, BACKBONES)
    )
    return {
        "backbones": {name: describe_backbone(name) for name in backbones},
        "blocks": {name: describe_block(name) for name in [*blocks, *own_blocks]},
    }


def _blocks_of(module: str) -> list[str]:
    """The dotted paths of the blocks that a module has without a short name."""
    find_own_modules({module.partition(".")[0]: str(Path.cwd())})
    found = vars(import_module_named(module, "--module")).values()
    return [
        f"{module}.{block.__name__}"
        for block in found
        if inspect.isclass(block)
        and issubclass(block, AttentionBlock)
        and block.__module__ == module
        and not inspect.isabstract(block)
        and block not in BLOCKS.values()
    ]


def describe_backbone(name: str) -> dict[str, Any]:
    """A backbone as plain data: parameters, GMACs, the clip they are for, stages, and options with their defaults."""
    with torch.device("meta"):
        built = build_backbone(name, NUM_CLASSES)
    rows = profile_network(built.network, built.stages, {}, built.clip)
    return {
        "parameters": sum(row.parameters for row in rows),
        "gmacs": sum(row.macs for row in rows) / 1e9,
        "clip": list(built.clip),
        "stages": {stage: len(paths) for stage, paths in built.stages.items()},
        "options": backbone_options(name),
    }


def describe_block(name: str) -> dict[str, Any]:
    """A block as plain data: options with their defaults, and the arXiv number of its paper."""
    block = BLOCKS.find(name)
    parameters = inspect.signature(block).parameters.values()
    paper = re.search(r"arXiv:(\d{4}\.\d{5})", inspect.getdoc(block) or "")
    return {
        "options": {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "low_channels"},
        "paper": paper and paper[1],
        "reads_a_second_stage": block.takes_low,
    }
