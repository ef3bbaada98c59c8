"""``videonl convert``: checkpoints of other projects as weights of ours."""

from pathlib import Path
from typing import Any

from videonl.backbones import as_head
from videonl.cli.parsing import Parser
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models.class_names import class_names, lists_of
from videonl.models.conversion import Layout, Stated
from videonl.models.conversion import convert as convert_file
from videonl.models.weights import Weights
from videonl.outputs import check_file
from videonl.terminal import Console

DESCRIPTION = """Converts a checkpoint of another project to a file for model.weights. No code in the checkpoint runs.
Every key and shape must match; anything that does not match or is not known is an error."""


def parse(arguments: list[str]) -> None:
    """Runs a command line: ``from`` is a keyword of Python, so no parameter can have this name."""
    parser = Parser(prog="videonl convert", description=DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, help="The file to convert.")
    parser.add_argument("--from", type=Layout, required=True, help="The project that wrote the file.")
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
    classes: str | None = None,
) -> None:
    """Sets what the file does not record. If a required option is missing, the message says where to look it up.

    Args:
        checkpoint: The file to convert.
        layout: The project that wrote the file.
        out: Where to write the weights.
        backbone: Our name of the network, such as i3d_r50.
        strides: Temporal strides of the stem and of the pool after it, such as 2,2.
        pool_padding: Padding of that pool in height and width, 0 or 1.
        pairwise: Pairwise function of the non-local blocks: embedded_gaussian or dot_product.
        scale: Whether the blocks divide by the root of their inner channels before softmax.
        subsample: Whether the blocks pool their keys and values.
        clip: Frames and stride of the clips it was trained on, such as 32x2; by default as the file says, or as
            published for the network.
        classes: Names of its classes: kinetics400, kinetics600, kinetics700, imagenet, or a file with one name per
            line; by default kinetics400 where the published files of a layout with 400 classes have these.
    """
    check_file(out, [checkpoint])
    names = None if classes is None else class_names(classes)
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
    are_names_published = names is None and layout != "videonl"
    if names is not None:
        weights = weights.named(names)
    told = _told(
        weights, are_names_published
    )  # before anything is written: a clip format that cannot be is refused here
    weights.save(out)
    _say([f"{len(weights.state)} weights converted, none left over: {out}", *told])


def _told(weights: Weights, are_names_published: bool) -> list[str]:
    """The findings, one per line."""
    told = [] if weights.block is None else [f"one block: {weights.block}"]
    if weights.network is not None:
        built = {name: weights.network[name] for name in ("width", "backbone_options") if weights.network[name]}
        told.append(f"network: {weights.network['backbone']}{f', {built}' if built else ''}")
        for insertion in weights.network["blocks"]:
            told.append(f"blocks: {insertion['block']} after {insertion['after']}, {insertion['options']}")
        told += _about_head(weights.network)
        told.append(_about_classes(weights.network["num_classes"], weights.class_names, are_names_published))
        told.append(f"reads: {weights.reads}" if weights.reads else _about_clip(weights.clip))
    return [*told, f"license: {weights.license}"] if weights.license else told


def _say(lines: list[str]) -> None:
    console = Console()
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _about_head(network: dict[str, Any]) -> list[str]:
    head = as_head((network["backbone_options"] or {}).get("head", "mean"))
    if head.window is None:
        return []
    return [
        f"head: averages the {head.averaged} of windows of {head.window} x {head.window} cells, as in the source "
        "project; this matters for clips larger than those of the training"
    ]


def _about_classes(num_classes: int | None, names: list[str] | None, are_published: bool) -> str:
    if num_classes is None:
        return "the file has no classifier: a training from it starts with a new one"
    if names:
        listed = f"classes: {num_classes}, {names[0]} to {names[-1]}"
        if not are_published:
            return listed
        (known,) = lists_of(num_classes)
        return f"{listed}: those of {known}, as published for this network; if it was trained on others: --classes FILE"
    known = "".join(f"; if they are those of {name}: --classes {name}" for name in lists_of(num_classes))
    return f"classes: {num_classes}, without names; name them with --classes FILE{known}"


def _about_clip(clip: dict[str, Any]) -> str:
    if "num_frames" not in clip:
        return "clips: unknown; predict, evaluate, attention and export need them: --clip 32x2, frames x stride"
    known = ClipFormat(**clip)
    pixels = ", ".join(f"{name} {[round(value, 4) for value in getattr(known, name)]}" for name in ("mean", "std"))
    return f"clips: {known.describe()}, crop {known.crop_px} px, {pixels}; if it was trained on others: --clip 32x2"


def _pair(flag: str, text: str | None, separator: str, example: str) -> tuple[int, int] | None:
    if text is None:
        return None
    words = text.split(separator)
    if len(words) != 2 or not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"{flag} must be two positive whole numbers such as {example}, got {text!r}")
    return int(words[0]), int(words[1])
