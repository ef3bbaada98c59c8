"""``videonl models``: the backbones and blocks."""

import inspect
import json as json_text
import re
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from videonl.backbones import BACKBONES, backbone_options, build_backbone
from videonl.blocks import BLOCKS, AttentionBlock
from videonl.cli.progress import status
from videonl.profiling import profile_network
from videonl.registry import import_module_named
from videonl.runtime.own_modules import find_own_modules
from videonl.terminal import Console

NUM_CLASSES = 400


def models(json: bool = False, module: str | None = None) -> None:
    """Lists the backbones with their sizes and the blocks with their options.

    Parameters and multiply-adds are for 400 classes and the clip in the table.

    Args:
        json: Print one JSON object instead of tables.
        module: A module of your own, in the current folder or on PYTHONPATH, whose blocks and backbones are listed
            instead. Its code runs.
    """
    own_blocks = _blocks_of(module) if module else []
    named_blocks, named_backbones = (
        [name for name in registry if registry.is_own(name) or module is None] for registry in (BLOCKS, BACKBONES)
    )
    with status("building every backbone"):
        backbones = {name: describe_backbone(name) for name in named_backbones}
    blocks = {name: describe_block(name) for name in [*named_blocks, *own_blocks]}
    if json:
        print(json_text.dumps({"backbones": backbones, "blocks": blocks}, indent=2))
        return
    console = Console()
    console.print(_backbone_table(backbones), _block_table(blocks))
    console.print("Use any other 3D CNN by its dotted path, such as backbone: pytorchvideo.models.x3d.create_x3d.")


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


def _backbone_table(backbones: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="backbones")
    table.add_column("backbone", no_wrap=True)
    for heading in ("parameters", "GMACs", "clip T x H x W"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("stages")
    table.add_column("options")
    for name, told in backbones.items():
        stages = ", ".join(f"{stage} ({count})" for stage, count in told["stages"].items())
        clip = " x ".join(map(str, told["clip"]))
        table.add_row(name, f"{told['parameters']:,}", f"{told['gmacs']:.2f}", clip, stages, _options(told["options"]))
    return table


def _block_table(blocks: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="blocks")
    for heading in ("block", "arXiv"):
        table.add_column(heading, no_wrap=True)
    table.add_column("options")
    for name, told in blocks.items():
        low = "takes a second input, low; " if told["reads_a_second_stage"] else ""
        table.add_row(name, told["paper"], low + _options(told["options"]))
    return table


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {json_text.dumps(default)}" for name, default in options.items()) or "none"
