"""``videonl predict --video FILE``: the best classes of single videos."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from videonl.backbones.fold import folded
from videonl.cli.refusals import local_video, require_at_least, require_finite_scores
from videonl.data.dataset import read_views
from videonl.data.reading.decoding import DecodingError
from videonl.data.sources.labels import UNKNOWN
from videonl.data.transforms import ClipFormat, Views, normalise
from videonl.data.video import Video
from videonl.evaluation.writing import printable
from videonl.models.checkpoints import load_trained

logger = logging.getLogger(__name__)


def predict(
    video: list[str],
    checkpoint: Path,
    num_clips: int = 10,
    num_crops: int = 3,
    top: int = 5,
    decoder: str = "auto",
    trust_code: bool = False,
) -> None:
    """Prints the most probable classes of videos, averaged over the views of each.

    Args:
        video: A video file, or several.
        checkpoint: A checkpoint of ``videonl fit``.
        num_clips: Clips, evenly spaced in time.
        num_crops: Crops of each clip, evenly spaced along its longer side.
        top: How many classes to print.
        decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
        trust_code: Whether the checkpoint may name any code as its backbone; say so for your own files.
    """
    console = Console()
    require_at_least(1, top=top)
    videos = [local_video(name) for name in video]
    trained = load_trained(checkpoint, trust_code)
    network, form, views = folded(trained.network), ClipFormat(**trained.clip), Views(num_clips, num_crops)
    failures = []
    for path in videos:
        try:
            with console.status("reading and scoring"):
                logits = _logits(network, Video(path, UNKNOWN), form, views, decoder)
        except DecodingError as error:
            failures.append(error)
            if len(videos) > 1:
                logger.error("%s", error)
            continue
        require_finite_scores(logits, checkpoint.name)
        probabilities = logits.double().softmax(dim=1).mean(dim=0)
        console.print(_table(path, views, probabilities, trained.class_names, top))
    if len(videos) == len(failures) == 1:
        raise failures[0]
    if failures:
        raise SystemExit(1)


def _logits(network: nn.Module, video: Video, form: ClipFormat, views: Views, decoder: str) -> Tensor:
    """Of every view and class, (V, K)."""
    with torch.inference_mode():
        # One view at a time: thirty views of a large network at once would need tens of gigabytes.
        pixels = read_views(video, form, views, decoder).split(1)
        clips = (normalise(view, form.mean, form.std) for view in pixels)
        return torch.cat([network(clip.contiguous(memory_format=torch.channels_last_3d)) for clip in clips])


def _table(video: Path, views: Views, probabilities: Tensor, class_names: Sequence[str], top: int) -> Table:
    table = Table(title=f"{escape(printable(video.name))}: {views.num_clips} clips x {views.num_crops} crops")
    table.add_column("class")
    table.add_column("probability", justify="right")
    for index in probabilities.argsort(descending=True)[:top].tolist():
        table.add_row(escape(class_names[index]), f"{100 * float(probabilities[index]):.2f} %")
    return table
