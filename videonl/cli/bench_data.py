"""``videonl bench data``: our loading beside decord, torchcodec and pytorchvideo, on the user's files."""

import json as json_lines
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.table import Table

from videonl.benchmarks.loading import Row, compare
from videonl.benchmarks.loading_peers import SEEK_MODES, SeekMode
from videonl.benchmarks.loading_sides import find_files, prepare
from videonl.benchmarks.loading_stages import Memory, Stages, memory, stages
from videonl.benchmarks.report import machine
from videonl.cli.bench import saying_if_busy
from videonl.cli.refusals import require_at_least
from videonl.data.reading.torchcodec_reader import import_torchcodec
from videonl.errors import UserError
from videonl.temporary import temporary_folder
from videonl.terminal import Console

MOST_READS = 10**7
INSTALLED_BY = 'pip install "videonl[torchcodec]", and FFmpeg\'s shared libraries (apt-get install ffmpeg)'
Result = Row | Stages | Memory


def bench_data(videos: Path, num_clips: int = 10, memory_reads: int = 0, json: bool = False) -> None:
    """Times the loading of clips (8 frames, 8 apart, 224 x 224) against decord, torchcodec and pytorchvideo's data set.

    One process and one thread. Both sides read each file in turn; the first read does not count. Each read opens the
    file anew; for "indexed", the frames are listed in advance as by `videonl index`. The command reads the H.264 files
    of the folder that decord opens and that hold a whole clip, as they are and re-encoded as by `videonl prepare`.
    torchcodec takes part where it can be imported.

    Args:
        videos: Folder of videos.
        num_clips: Number of clips per file in each comparison.
        memory_reads: Number of reads over which memory is measured; 10,000 take minutes.
        json: Print one JSON object per line, as soon as it is measured, instead of tables.
    """
    require_at_least(1, MOST_READS, num_clips=num_clips)
    require_at_least(0, MOST_READS, memory_reads=memory_reads)
    torch.set_num_threads(1)
    console = Console()
    results = []
    with saying_if_busy():
        for result in _measure(videos, num_clips, memory_reads):
            results.append(result)
            if json:
                print(json_lines.dumps(result.as_json()), flush=True)
    if not json:
        console.print(machine())
        _show(console, results)


def _measure(videos: Path, num_clips: int, memory_reads: int) -> Iterator[Result]:
    status = Console(stderr=True)
    with temporary_folder() as links, temporary_folder() as folder:
        files = find_files(videos, links)
        status.print(f"preparing {len(files)} files")
        prepared = prepare(files, folder)
        for result in compare(files, prepared, num_clips, _seek_modes(status)):
            status.print(f"{result.case}, against {result.peer}")
            yield result
        yield stages("raw", files, num_clips)
        yield stages("prepared", prepared, num_clips)
        if memory_reads:
            yield memory(files, memory_reads)


def _seek_modes(status: Console) -> tuple[SeekMode, ...]:
    try:
        import_torchcodec()
    except UserError as error:
        reason = f"torchcodec is left out, as it cannot be imported ({error.__cause__}). "
        status.print(f"{reason}Its row needs: {INSTALLED_BY}", markup=False, soft_wrap=True)
        return ()
    return SEEK_MODES


def _show(console: Console, results: list[Result]) -> None:
    rates = Table(title="clips per second, ours and theirs")
    for heading, side in (
        ("files", "left"),
        ("against", "left"),
        ("ratio", "right"),
        ("ours", "right"),
        ("peer", "right"),
    ):
        rates.add_column(heading, justify="right" if side == "right" else "left")
    parts = Table(title="milliseconds per clip, ours")
    for result in results:
        if isinstance(result, Row):
            ratio = "unstable" if result.ratio is None else f"[bold]{result.ratio:.2f}x[/bold]"
            numbers = (f"{result.ours_clips_per_s:.2f}", f"{result.peer_clips_per_s:.2f}")
            rates.add_row(result.case, result.peer, ratio, *numbers)
        elif isinstance(result, Stages):
            if not parts.columns:
                for name in ("files", *result.milliseconds):
                    parts.add_column(name)
            parts.add_row(result.case, *(f"{value:.2f}" for value in result.milliseconds.values()))
    console.print(rates)
    console.print(parts)
    for result in results:
        if isinstance(result, Row) and result.differing is not None:
            which = f"{', '.join(result.differing)}, by at most {result.most_levels} of 255 levels"
            console.print(f"files whose frames differ from {result.peer}'s: {which if result.differing else 'none'}")
            if result.left_out:
                console.print(f"files that {result.peer} cannot read: {', '.join(result.left_out)}")
        if isinstance(result, Memory):
            before, after = result.before_mib, result.after_mib
            console.print(
                f"memory over {result.num_reads:,} reads: {before:.0f} to {after:.0f} MiB ({result.growth:+.1%})"
            )
