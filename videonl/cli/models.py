"""``videonl models``: the backbones and blocks."""

import json as json_text
from typing import Any

from rich.table import Table

from videonl.cli.progress import status
from videonl.cli.written import written_networks
from videonl.terminal import Console


def models(json: bool = False, module: str | None = None) -> None:
    """Lists the backbones with their sizes and the blocks with their options.

    Parameters and multiply-adds are for 400 classes and the clip in the table.

    Args:
        json: Print one JSON object instead of tables.
        module: A module of your own, in the current folder or on PYTHONPATH, whose blocks and backbones are listed
            instead. Its code runs.
    """
    described = _described(module) if module else written_networks()
    if json:
        print(json_text.dumps(described, indent=2))
        return
    console = Console()
    console.print(_backbone_table(described["backbones"]), _block_table(described["blocks"]))
    console.print("Use any other 3D CNN by its dotted path, such as backbone: pytorchvideo.models.x3d.create_x3d.")


def _described(module: str) -> dict[str, dict[str, Any]]:
    from videonl.cli.described import describe  # with torch, for seconds

    with status("building every backbone"):
        return describe(module)


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
