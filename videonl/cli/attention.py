"""``videonl attention``: what the inserted blocks attend to in a video, and the evidence for a class."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from torch import Tensor

from videonl.blocks import AttentionBlock
from videonl.cli.attention_files import Film, write_files, write_page
from videonl.cli.refusals import require_video
from videonl.data.located_clip import LocatedClip, read_middle_clip
from videonl.data.reading.segment import named_place, whole_of
from videonl.data.sampling import clip_span
from videonl.data.sources.folders import data_set_around
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.inference import Recognizer
from videonl.inference.choices import AUTO, find_classes, find_layer
from videonl.inference.loading import find_trained
from videonl.inference.seeing import finite
from videonl.models import ClipClassifier
from videonl.models.checkpoints import Trained
from videonl.models.locating import weights_file
from videonl.outputs import check_folder, is_below, is_same, refuse_inputs
from videonl.terminal import Console, printable
from videonl.visualization import ShownClip, parse_queries
from videonl.visualization.attention import maps_of
from videonl.visualization.evidence import evidence_of
from videonl.visualization.explorer import Source
from videonl.visualization.features import observe

PAGE = "explorer.html"


def attention(
    checkpoint: Path,
    video: str,
    out: Path = Path("attention"),
    query: list[str] = [],  # noqa: B006  # jsonargparse appends to a copy
    evidence: list[str] = [],  # noqa: B006  # likewise
    evidence_layer: str | None = None,
    html: bool = False,
    compare: Path | None = None,
    film: Film = "mp4",
    decoder: str = "auto",
    trust_code: bool = False,
) -> None:
    """Writes a PNG strip, a film and arrays of the attention of each inserted block at some query positions.

    The middle clip of the video is shown, resized and cropped as the network sees it.

    Args:
        checkpoint: A checkpoint, the folder of a run or of ``videonl share``, converted weights, ``hf://user/name``, or
            a published name such as kinetics400/i3d_r50.
        video: A video file or its URL.
        out: Folder for BLOCK.png, BLOCK.mp4, BLOCK.npz and explorer.html. With several queries pictures and films are
            BLOCK_QUERY.png; with ``evidence`` there are evidence_CLASS.png and, to compare both,
            BLOCK_evidence_CLASS.png; with ``compare`` each checkpoint has a folder of its own.
        query: A query position ``t,y,x``: frame of the clip, then pixels of the crop; ``grid:TxHxW``: the
            centers of that many equal parts; or ``auto``, the default: for each block the position whose features it
            changed the most. May be given several times.
        evidence: Also show the evidence for these classes, by Grad-CAM: names or indices, or ``auto`` (the default of
            the bare option): the predicted class. Works for networks without blocks too.
        evidence_layer: The layer of the evidence: a stage (``res4``), a residual (``res4.3``) or a module path.
            By default the last residual of the last stage, or the last features on a grid if there are no stages.
        html: Also write explorer.html, a page that shows the attention of any query position.
        compare: A second checkpoint to show beside the first.
        film: ``mp4``, ``gif``, or ``none`` to write no films.
        decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
        trust_code: Run any code that the checkpoint names; only for files that you trust.
    """
    console = Console()
    place = named_place(require_video(video))
    file = whole_of(place)
    inputs = [Path(str(file)), *(weights_file(each) for each in (checkpoint, compare) if each is not None)]
    check_folder(out)
    refuse_inputs([out, out / PAGE] if html else [out], inputs)
    networks = [_Network("", find_trained(checkpoint, trust_code=trust_code))]
    if compare is not None:
        names = distinct_names(checkpoint, compare)
        networks = [
            _Network(names[0], networks[0].trained),
            _Network(names[1], find_trained(compare, trust_code=trust_code)),
        ]
    clip_format = _common_format([network.trained for network in networks])
    clip = read_middle_clip(place, clip_format, decoder)
    _warn_of_short_video(console, video, clip, clip_format)
    if isinstance(file, Path):
        _warn_of_data_set(console, file, out)
    shown = _shown(printable(Path(video).name), clip)
    queries = parse_queries(query or [AUTO], shown.size)
    classes = [name or AUTO for name in evidence] or ([AUTO] if evidence_layer else [])
    sources = [network.source(clip.pixels, checkpoint.name, classes, evidence_layer) for network in networks]
    for network, source in zip(networks, sources, strict=True):
        only_evidence = source.evidence and not source.blocks
        maps = {} if only_evidence else maps_of(source.seen, source.blocks, list(queries.values()))
        write_files(console, shown, maps, queries, source.evidence, out / network.folder, film, inputs)
        _explain(console, network, source)
    if html:
        write_page(console, shown, sources, out / PAGE, next(iter(queries.values())))


@dataclass(frozen=True)
class _Network:
    folder: str
    trained: Trained

    def source(self, pixels: Tensor, name: str, classes: Sequence[str], layer: str | None) -> Source:
        recognizer = Recognizer(self.trained.network, ClipFormat(**self.trained.clip))
        network, clip = recognizer.network, recognizer.inputs(pixels[None])
        assert isinstance(network, ClipClassifier)
        place = find_layer(network, layer, clip) if classes else None
        module = None if place is None else network.network.get_submodule(place.path)
        seen = observe(network, network.blocks, clip, module)  # the only pass of the clip
        finite(seen.logits, name)
        best = int(seen.logits.argmax())
        asked = find_classes(classes, self.trained.class_names, best)
        evidence = []
        if place is not None and module is not None:
            evidence = evidence_of(seen, network.network, module, place.name, asked)
        blocks = _weighing(network.blocks, needed=not evidence)
        return Source(self.folder or name, self.trained.class_names[best], blocks, seen, evidence)


def _weighing(blocks: Mapping[str, AttentionBlock], needed: bool) -> dict[str, AttentionBlock]:
    """The blocks that have attention to show."""
    weighing = {name: block for name, block in blocks.items() if block.weighs_positions}
    if blocks and needed and not weighing:
        raise UserError(
            f"{', '.join(blocks)}: these blocks average all positions, so they have no attention to show; "
            "use --evidence to show which positions support a class"
        )
    return weighing


def distinct_names(first: Path, second: Path) -> tuple[str, str]:
    """Short names that tell two checkpoints apart, fit for folders.

    >>> distinct_names(Path("runs/a/checkpoints/best.ckpt"), Path("runs/b/checkpoints/best.ckpt"))
    ('a', 'b')
    >>> distinct_names(Path("runs/a/checkpoints/best.ckpt"), Path("runs/a/checkpoints/last.ckpt"))
    ('best', 'last')
    >>> distinct_names(Path("/best.ckpt"), Path("/runs/best.ckpt"))
    ('root', 'runs')

    Raises:
        UserError: They are the same file.
    """
    for one, other in zip(reversed(first.resolve().parts), reversed(second.resolve().parts), strict=False):
        if one != other:
            return _folder_name(one), _folder_name(other)
    raise UserError(f"--compare {second} is the checkpoint itself; give another one")


def _folder_name(part: str) -> str:
    # The root of all paths is no name: joined to a folder it would lead out of it.
    return part.removesuffix(".ckpt").strip(os.sep) or "root"


def _common_format(trained: Sequence[Trained]) -> ClipFormat:
    """What all the networks see of a video, up to its normalization."""
    first, *others = (ClipFormat(**one.clip) for one in trained)
    for other in others:
        for name in ("num_frames", "stride_frames", "stride_seconds", "sampling", "short_side_px", "crop_px"):
            if getattr(other, name) != getattr(first, name):
                raise UserError(
                    f"the two checkpoints use different clips: {name} {getattr(first, name)} and "
                    f"{getattr(other, name)}; compare networks that were trained on the same clip format"
                )
    return first


def _shown(name: str, clip: LocatedClip) -> ShownClip:
    frames = clip.pixels.permute(1, 2, 3, 0).contiguous()  # (C, T, H, W) -> (T, H, W, C)
    return ShownClip(name, frames, clip.video_frames, clip.seconds, clip.crop)


def _warn_of_short_video(console: Console, video: str, clip: LocatedClip, clip_format: ClipFormat) -> None:
    if not clip.num_repeated:
        return
    repeated = f"{clip.num_repeated} of {clip_format.num_frames}"
    if clip_format.sampling == "dense" and clip_format.stride_seconds is None:
        span = clip_span(clip_format.num_frames, clip_format.stride_frames)
        text = f"is shorter than the {span} frames that a clip covers: {repeated} frames repeat the last one"
    else:
        text = f"has fewer frames than a clip needs: {repeated} frames of the clip repeat the previous one"
    console.print(f"{video} {text}", soft_wrap=True, markup=False)


def _warn_of_data_set(console: Console, video: Path, out: Path) -> None:
    folder = data_set_around(Path(os.path.abspath(video)), out)
    if folder is not None and (is_same(out, folder) or is_below(out, folder)):
        text = "there it is read as a class, and its films as videos; write to another place to keep them apart"
        console.print(f"{out} lies in {folder}, a folder of videos: {text}", soft_wrap=True, markup=False)


def _explain(console: Console, network: _Network, source: Source) -> None:
    alike = [name for name, block in source.blocks.items() if not block.depends_on_query]
    if alike:
        console.print(f"{', '.join(alike)}: global context, the same map for every query", markup=False)
    left_out = [name for name in network.trained.network.blocks if name not in source.blocks]
    if left_out:
        console.print(f"{', '.join(left_out)}: averages all positions, no attention to show", markup=False)
    who = f"{escape(network.folder)}: the" if network.folder else "the"
    console.print(f"{who} network predicts [bold]{escape(source.prediction)}[/bold]")
