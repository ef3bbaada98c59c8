"""``videonl attention``: what the inserted blocks attend to in a video."""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from videonl.data.dataset import read_views
from videonl.data.transforms import ClipFormat, Views, normalise
from videonl.models.checkpoints import load_trained
from videonl.visualization import attention_maps, film, parse_query, strip


def attention(
    checkpoint: Path,
    video: Path,
    out: Path = Path("attention"),
    query: str | None = None,
    decoder: str = "auto",
    trust_code: bool = False,
) -> None:
    """Writes for each inserted block a PNG strip and an MP4 of what one position attends to.

    The middle clip of the video is shown, resized and cropped as the network sees it.

    Args:
        checkpoint: A checkpoint of ``videonl fit``.
        video: A video file.
        out: Folder for BLOCK.png and BLOCK.mp4.
        query: The position that asks, as ``t,y,x``: frame of the clip, then pixels of the crop. Without it each block
            is asked at the position whose features it changed the most.
        decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
        trust_code: Whether the checkpoint may name any code as its backbone; say so for your own files.
    """
    console = Console()
    position = None if query is None else parse_query(query)
    trained = load_trained(checkpoint, trust_code)
    clip_format = ClipFormat(**trained.clip)
    views = read_views(video, clip_format, Views(num_clips=1, num_crops=1), decoder)
    clip = normalise(views, clip_format.mean, clip_format.std)
    maps = attention_maps(trained.network, trained.network.blocks, clip, position)
    frames = views[0].permute(1, 2, 3, 0).contiguous()  # (C, T, H, W) -> (T, H, W, C)
    for attended in track(maps, "drawing", console=console, transient=True):
        for draw, suffix in ((strip, "png"), (film, "mp4")):
            draw(frames, attended, out / f"{attended.block}.{suffix}")
    for attended in maps:
        time, y, x = attended.query
        console.print(f"{attended.block}: frame {time}, pixel ({y}, {x}) -> {out / attended.block}.png and .mp4")
    with torch.inference_mode():
        best = int(trained.network(clip).argmax())
    console.print(f"the network calls this clip [bold]{trained.class_names[best]}[/bold]")
