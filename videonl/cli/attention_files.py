"""The files of ``videonl attention``: what they are called, and that they are written."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from videonl.cli.progress import status
from videonl.names import file_part
from videonl.outputs import refuse_inputs
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console
from videonl.visualization import (
    AttentionMap,
    EvidenceMap,
    ShownClip,
    SpacetimeMap,
    film,
    save_arrays,
    save_evidence,
    strip,
)
from videonl.visualization.explorer import Source, write_explorer
from videonl.visualization.grid import Position

Film = Literal["mp4", "gif", "none"]


class _Picture(NamedTuple):
    """A strip and a film.

    Attributes:
        name: of the files.
        text: what they show.
        shown: the map.
        beside: another one to hold it against.
    """

    name: str
    text: str
    shown: SpacetimeMap
    beside: SpacetimeMap | None = None


def write_files(
    console: Console,
    clip: ShownClip,
    maps: Mapping[str, Sequence[AttentionMap]],
    queries: Mapping[str, Position | None],
    evidence: Sequence[EvidenceMap],
    out: Path,
    film_kind: Film,
    inputs: Sequence[Path] = (),
) -> None:
    """Writes pictures, films and arrays of one network, none over an input, and says what is where."""
    pictures = list(_pictures(maps, list(queries), evidence))
    arrays = [*maps, "evidence"] if evidence else [*maps]
    outputs = [f"{picture.name}.{kind}" for picture in pictures for kind in ("png", film_kind)]
    refuse_inputs([out / name for name in [*outputs, *(f"{array}.npz" for array in arrays)]], inputs)
    with progress_bar("drawing") as told:
        for done, (name, _, shown, beside) in enumerate(pictures, start=1):
            strip(clip.frames, shown, out / f"{name}.png", clip.seconds, beside)
            if film_kind != "none":
                film(clip.frames, shown, out / f"{name}.{film_kind}", seconds=clip.seconds, beside=beside)
            told(done, len(pictures))
    for block, attended_by_query in maps.items():
        save_arrays(clip, attended_by_query, out / f"{block}.npz")
    if evidence:
        save_evidence(clip, evidence, out / "evidence.npz")
    suffixes = ".png" if film_kind == "none" else f".png and .{film_kind}"
    for name, text, *_ in pictures:
        console.print(f"{text} -> {out / name}{suffixes}", soft_wrap=True, markup=False)


def _pictures(
    maps: Mapping[str, Sequence[AttentionMap]], queries: Sequence[str], evidence: Sequence[EvidenceMap]
) -> Iterator[_Picture]:
    """Every map alone, then all attention beside all evidence."""
    attention = list(_attention(maps, queries))
    names = [f"evidence_{file_part(shown.class_name, shown.class_index)}" for shown in evidence]
    speaking = [
        _Picture(name, f"{shown.title}, at {shown.layer}", shown) for name, shown in zip(names, evidence, strict=True)
    ]
    yield from attention
    yield from speaking
    for one in attention:
        for other in speaking:
            yield _Picture(f"{one.name}_{other.name}", f"{one.name} beside {other.shown.title}", one.shown, other.shown)


def _attention(maps: Mapping[str, Sequence[AttentionMap]], queries: Sequence[str]) -> Iterator[_Picture]:
    for block, attended_by_query in maps.items():
        for query, attended in zip(queries, attended_by_query, strict=True):
            time, y, x = attended.query
            name = block if len(queries) == 1 else f"{block}_{query}"
            yield _Picture(name, f"{block}: frame {time}, pixel ({y}, {x})", attended)


def write_page(
    console: Console, clip: ShownClip, sources: Sequence[Source], path: Path, query: Position | None
) -> None:
    """Writes the explorer, and says how exact and how large it is."""
    with status("packing the weights of every position"):
        written = write_explorer(clip, sources, path, query)
    for block in written:
        console.print(str(block), soft_wrap=True, markup=False)
    console.print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", soft_wrap=True, markup=False)
