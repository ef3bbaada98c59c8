"""Which decoder gives which file's frames as sequential decoding does, as a table in Markdown.

    python scripts/decoder_table.py FOLDER_OR_FILE ...

The truth is plain sequential decoding with PyAV. Frames are asked for one by one and in groups, in random order. A
frame counts as the right one if no other frame of the file resembles it more: colors may differ by some levels.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jsonargparse import auto_cli
from rich.progress import track
from torch.nn.functional import adaptive_avg_pool2d

from videonl.data.reading.container import decode, open_container, video_stream
from videonl.data.reading.decoding import DECODERS, DecodingError, VideoReader, why_inexact
from videonl.data.reading.frame_table import FrameTable
from videonl.data.reading.orientation import orientation_of, upright
from videonl.data.reading.scan import scan
from videonl.data.sources.entry import VIDEO_SUFFIXES
from videonl.errors import UserError

_NUM_PROBES = 30
_NUM_SINGLE = 10
_THUMBNAIL_PX = 96


def sequential(path: Path, stream_index: int, wanted: set[int]) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Thumbnails of all frames, and the wanted frames, of decoding every packet in turn as the ffmpeg command does."""
    thumbnails, frames = [], {}
    with open_container(path) as container:
        # In one thread: how FFmpeg mends damage depends on its threads.
        for frame in decode(container, video_stream(container, stream_index)):
            rgb = upright(torch.from_numpy(frame.to_ndarray(format="rgb24")), orientation_of(frame))
            if len(thumbnails) in wanted:
                frames[len(thumbnails)] = rgb
            thumbnails.append(thumbnail(rgb))
    return torch.stack(thumbnails), frames


def thumbnail(frame: torch.Tensor) -> torch.Tensor:
    """(H, W, 3) to at most 96 x 96 gray values: 16 x 16 do not tell neighbors in a still scene apart."""
    height, width = (min(_THUMBNAIL_PX, size) for size in frame.shape[:2])
    return adaptive_avg_pool2d(frame.float().mean(-1)[None], (height, width)).flatten()


def verdict(reader: VideoReader, thumbnails: torch.Tensor, truth: dict[int, torch.Tensor]) -> str:
    """How the frames that a reader gives compare with the sequential ones."""
    largest, wrong = 0, []
    for indices in groups(list(truth)):
        for index, frame in zip(indices, reader.read(indices), strict=True):
            if frame.shape != truth[index].shape:
                return f"shape {tuple(frame.shape)}"
            levels = int((frame.int() - truth[index].int()).abs().max())
            largest = max(largest, levels)
            distances = (thumbnails - thumbnail(frame)).abs().mean(1)
            if levels and distances[index] > distances.min():
                wrong.append((index, int(distances.argmin())))
    if wrong:
        return f"{len(wrong)} of {len(truth)} wrong ({wrong[0][0]} is {wrong[0][1]})"
    return f"exact, colors within {largest}" if largest else "exact"


def groups(indices: Sequence[int]) -> Iterator[list[int]]:
    """The first few one by one, the rest together."""
    for index in indices[:_NUM_SINGLE]:
        yield [index]
    if indices[_NUM_SINGLE:]:
        yield list(indices[_NUM_SINGLE:])


def cell(path: Path, decoder: str, table: FrameTable, *truth: object) -> str:
    """What the decoder does to the file; of a decoder that is kept from the file, what it would do."""
    try:
        found = verdict(DECODERS[decoder](path, table), *truth)  # type: ignore[arg-type]  # thumbnails and frames
    except DecodingError as error:
        return "error" if "counts" not in error.reason else error.reason.partition(",")[0]
    except UserError:
        return "not installed"
    return f"refused: {found}" if why_inexact(decoder, table) else found


def decoder_table(paths: list[Path]) -> None:
    """Prints the table.

    Args:
        paths: Video files, and folders of such at any depth.
    """
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    names = [name for name in DECODERS if name != "pyav"]
    print("| file | format | frames | " + " | ".join(names) + " |\n|" + " --- |" * (3 + len(names)))
    for path in track([file for file in files if file.suffix.lower() in VIDEO_SUFFIXES], transient=True):
        table = scan(path)
        asked = random.Random(0).sample(range(table.num_frames), min(_NUM_PROBES, table.num_frames))
        thumbnails, frames = sequential(path, table.stream_index, set(asked))
        counted = (
            f"{table.num_frames}"
            if len(thumbnails) == table.num_frames
            else f"{table.num_frames}, not {len(thumbnails)}"
        )
        truth = {index: frames[index] for index in asked if index in frames}
        cells = [cell(path, name, table, thumbnails, truth) for name in names]
        print(
            f"| {path.name} | {table.codec} in {table.container.split(',')[0]} | {counted} | "
            + " | ".join(cells)
            + " |"
        )


if __name__ == "__main__":
    auto_cli(decoder_table)
