"""``videonl attention``: what the inserted blocks attend to in a video."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from videonl.data.located_clip import LocatedClip, read_middle_clip
from videonl.data.sampling import clip_span
from videonl.data.transforms import ClipFormat, normalise
from videonl.errors import UserError
from videonl.models.checkpoints import Trained, load_trained
from videonl.visualization import AttentionMap, ShownClip, attention_maps, film, parse_queries, save_arrays, strip
from videonl.visualization.explorer import Source, write_explorer
from videonl.visualization.grid import Position

Film = Literal["mp4", "gif", "none"]
Queries = Mapping[str, Position | None]
PAGE = "explorer.html"


def attention(
    checkpoint: Path,
    video: Path,
    out: Path = Path("attention"),
    query: list[str] = [],  # noqa: B006  # jsonargparse appends to a copy
    html: bool = False,
    compare: Path | None = None,
    film: Film = "mp4",
    decoder: str = "auto",
    trust_code: bool = False,
) -> None:
    """Writes for each inserted block a PNG strip, a film and the arrays of what some positions attend to.

    The middle clip of the video is shown, resized and cropped as the network sees it.

    Args:
        checkpoint: A checkpoint of ``videonl fit``.
        video: A video file.
        out: Folder for BLOCK.png, BLOCK.mp4, BLOCK.npz and explorer.html. With several queries pictures and films are
            BLOCK_QUERY.png; with ``compare`` each checkpoint has a folder of its own.
        query: A position that asks, as ``t,y,x``: frame of the clip, then pixels of the crop; ``grid:TxHxW``: the
            centres of that many equal parts; or ``auto``, the default: for each block the position whose features it
            changed the most. May be given several times.
        html: Write one page as well, explorer.html, in which every position can be asked.
        compare: Another checkpoint, to show beside the first.
        film: ``mp4``, ``gif``, or ``none`` to write no films.
        decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
        trust_code: Whether a checkpoint may name any code as its backbone; say so for your own files.
    """
    console = Console()
    networks = [_Network("", load_trained(checkpoint, trust_code))]
    if compare is not None:
        names = distinct_names(checkpoint, compare)
        networks = [_Network(names[0], networks[0].trained), _Network(names[1], load_trained(compare, trust_code))]
    clip_format = _common_format([network.trained for network in networks])
    clip = read_middle_clip(video, clip_format, decoder)
    _warn_of_short_video(console, video, clip, clip_format)
    shown = _shown(video.name, clip)
    queries = parse_queries(query or ["auto"], shown.size)
    sources = [network.source(clip.pixels, checkpoint.name) for network in networks]
    for network, source in zip(networks, sources, strict=True):
        maps = attention_maps(source.network, source.blocks, source.clip, list(queries.values()))
        _write_files(console, shown, maps, queries, out / network.folder, film)
        _explain(console, network, source)
    if html:
        _write_page(console, shown, sources, out / PAGE, next(iter(queries.values())))


@dataclass(frozen=True)
class _Network:
    folder: str
    trained: Trained

    def source(self, pixels: Tensor, name: str) -> Source:
        clip_format, network = ClipFormat(**self.trained.clip), self.trained.network
        clip = normalise(pixels[None], clip_format.mean, clip_format.std)
        with torch.inference_mode():
            best = int(network(clip).argmax())
        return Source(self.folder or name, self.trained.class_names[best], network, network.blocks, clip)


def distinct_names(first: Path, second: Path) -> tuple[str, str]:
    """Short names that tell two checkpoints apart, fit for folders.

    >>> distinct_names(Path("runs/a/checkpoints/best.ckpt"), Path("runs/b/checkpoints/best.ckpt"))
    ('a', 'b')
    >>> distinct_names(Path("runs/a/checkpoints/best.ckpt"), Path("runs/a/checkpoints/last.ckpt"))
    ('best', 'last')

    Raises:
        UserError: They are the same file.
    """
    for one, other in zip(reversed(first.resolve().parts), reversed(second.resolve().parts), strict=False):
        if one != other:
            return one.removesuffix(".ckpt"), other.removesuffix(".ckpt")
    raise UserError(f"--compare {second} is the checkpoint itself; give another one")


def _common_format(trained: Sequence[Trained]) -> ClipFormat:
    """What all the networks see of a video, up to its normalisation."""
    first, *others = (ClipFormat(**one.clip) for one in trained)
    for other in others:
        for name in ("num_frames", "stride_frames", "short_side_px", "crop_px"):
            if getattr(other, name) != getattr(first, name):
                raise UserError(
                    f"the two checkpoints see different clips: {name} {getattr(first, name)} and "
                    f"{getattr(other, name)}; compare networks that were trained on the same clip format"
                )
    return first


def _shown(name: str, clip: LocatedClip) -> ShownClip:
    frames = clip.pixels.permute(1, 2, 3, 0).contiguous()  # (C, T, H, W) -> (T, H, W, C)
    return ShownClip(name, frames, clip.video_frames, clip.seconds, clip.crop)


def _warn_of_short_video(console: Console, video: Path, clip: LocatedClip, clip_format: ClipFormat) -> None:
    if clip.num_repeated:
        span = clip_span(clip_format.num_frames, clip_format.stride_frames)
        console.print(
            f"{video} is shorter than the {span} frames that a clip reaches over: its last frame stands in for "
            f"{clip.num_repeated} of {clip_format.num_frames}",
            soft_wrap=True,
            markup=False,
        )


def _write_files(
    console: Console,
    shown: ShownClip,
    maps: Mapping[str, Sequence[AttentionMap]],
    queries: Queries,
    out: Path,
    film_kind: Film,
) -> None:
    pictures = list(_pictures(maps, queries))
    for name, attended in track(pictures, "drawing", console=console, transient=True):
        strip(shown.frames, attended, out / f"{name}.png", shown.seconds)
        if film_kind != "none":
            film(shown.frames, attended, out / f"{name}.{film_kind}", seconds=shown.seconds)
    for block, attended_by_query in maps.items():
        save_arrays(shown, attended_by_query, out / f"{block}.npz")
    suffixes = ".png" if film_kind == "none" else f".png and .{film_kind}"
    for name, attended in pictures:
        time, y, x = attended.query
        place = f"frame {time}, pixel ({y}, {x})"
        console.print(f"{attended.block}: {place} -> {out / name}{suffixes}", soft_wrap=True, markup=False)


def _pictures(maps: Mapping[str, Sequence[AttentionMap]], queries: Queries) -> Iterator[tuple[str, AttentionMap]]:
    """Each map and the name of its files."""
    for block, attended_by_query in maps.items():
        for query, attended in zip(queries, attended_by_query, strict=True):
            yield block if len(queries) == 1 else f"{block}_{query}", attended


def _explain(console: Console, network: _Network, source: Source) -> None:
    alike = [name for name, block in source.blocks.items() if not block.depends_on_query]
    if alike:
        console.print(f"{', '.join(alike)}: global context, the same map for every query", markup=False)
    who = f"{network.folder}: the" if network.folder else "the"
    console.print(f"{who} network calls this clip [bold]{source.prediction}[/bold]")


def _write_page(
    console: Console, shown: ShownClip, sources: Sequence[Source], path: Path, query: Position | None
) -> None:
    with console.status("packing the weights of every position"):
        written = write_explorer(shown, sources, path, query)
    for block in written:
        console.print(str(block), soft_wrap=True, markup=False)
    console.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", soft_wrap=True, markup=False)
