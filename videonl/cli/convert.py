"""``videonl convert``: checkpoints of other projects as weights of ours."""

from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console

from videonl.errors import UserError
from videonl.models.conversion import Layout, Stated
from videonl.models.conversion import convert as convert_file
from videonl.models.weights import Weights
from videonl.outputs import check_file

DESCRIPTION = """Converts a checkpoint of another project to a file for model.weights. No code in the checkpoint runs.
Every key and shape is compared; what does not fit, or cannot be known, is refused."""


def parse(arguments: list[str]) -> None:
    """Runs a command line: ``--from`` is a word of Python, so no parameter can be named after it."""
    parser = ArgumentParser(prog="videonl convert", description=DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, help="The file to convert.")
    parser.add_argument("--from", type=Layout, required=True, help="Whose file it is.")
    parser.add_argument("--out", type=Path, required=True, help="Where to write the weights.")
    parser.add_function_arguments(convert, skip={"checkpoint", "layout", "out"})
    words = parser.parse_args(arguments).as_dict()
    convert(words.pop("checkpoint"), words.pop("from"), words.pop("out"), **words)


def convert(
    checkpoint: Path,
    layout: Layout,
    out: Path,
    backbone: str | None = None,
    strides: str | None = None,
    pool_padding: int | None = None,
    pairwise: str | None = None,
    scale: bool | None = None,
    subsample: bool | None = None,
    clip: str | None = None,
) -> None:
    """States what the file does not say. Where one that is needed is missing, the message tells where to look it up.

    Args:
        checkpoint: The file to convert.
        layout: Whose file it is.
        out: Where to write the weights.
        backbone: Our name of the network, such as i3d_r50.
        strides: Temporal strides of the stem and of the pool after it, such as 2,2.
        pool_padding: Padding of that pool in height and width, 0 or 1.
        pairwise: Function of the non-local blocks: embedded_gaussian or dot_product.
        scale: Whether the blocks divide by the root of their inner channels before softmax.
        subsample: Whether the blocks pool their keys and values.
        clip: Frames and stride of the clips it was trained on, such as 32x2.
    """
    check_file(out, [checkpoint])
    num_frames, stride_frames = _pair("--clip", clip, "x", "32x2") or (None, None)
    weights = convert_file(
        checkpoint,
        layout,
        Stated(
            backbone=backbone,
            strides=_pair("--strides", strides, ",", "2,2"),
            pool_padding=pool_padding,
            pairwise=pairwise,
            scale=scale,
            subsample=subsample,
            num_frames=num_frames,
            stride_frames=stride_frames,
        ),
    )
    weights.save(out)
    _report(weights, out)


def _report(weights: Weights, out: Path) -> None:
    console = Console()

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    say(f"{len(weights.state)} weights converted, none left over: {out}")
    if weights.block is not None:
        say(f"one block: {weights.block}")
    if weights.network is not None:
        built = {name: weights.network[name] for name in ("width", "backbone_options") if weights.network[name]}
        say(f"network: {weights.network['backbone']}, {built}" if built else f"network: {weights.network['backbone']}")
        for insertion in weights.network["blocks"]:
            say(f"blocks: {insertion['block']} after {insertion['after']}, {insertion['options']}")
        classes = weights.network["num_classes"]
        say(
            f"classes: {classes}" if classes else "the file has no classifier: a training from it starts with a new one"
        )
    say(f"clips: {weights.clip or 'unknown'}")
    if weights.licence:
        console.print(f"[bold]licence:[/bold] {weights.licence}", soft_wrap=True, highlight=False)


def _pair(flag: str, text: str | None, separator: str, example: str) -> tuple[int, int] | None:
    if text is None:
        return None
    words = text.split(separator)
    if len(words) != 2 or not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"{flag} must be two positive whole numbers such as {example}, got {text!r}")
    return int(words[0]), int(words[1])
