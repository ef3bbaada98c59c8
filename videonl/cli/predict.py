"""``videonl predict --video FILE``: the best classes of one video."""

from pathlib import Path

import torch
from rich.markup import escape
from rich.table import Table

from videonl.backbones.fold import folded
from videonl.cli.refusals import require_at_least, require_finite_scores
from videonl.data.dataset import read_views
from videonl.data.transforms import ClipFormat, Views, normalise
from videonl.data.video import Video
from videonl.models.checkpoints import load_trained
from videonl.terminal import Console, printable


def predict(
    video: Path,
    checkpoint: Path,
    num_clips: int = 10,
    num_crops: int = 3,
    top: int = 5,
    decoder: str = "auto",
    trust_code: bool = False,
) -> None:
    """Prints the most probable classes of one video, averaged over its views.

    Args:
        video: A video file.
        checkpoint: A checkpoint of ``videonl fit``, or converted weights with a classifier.
        num_clips: Clips, evenly spaced in time.
        num_crops: Crops of each clip, evenly spaced along its longer side.
        top: How many classes to print.
        decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
        trust_code: Let the checkpoint name any code, which is run; say so for your own files.
    """
    console = Console()
    require_at_least(1, top=top)
    trained = load_trained(checkpoint, trust_code)
    clip_format = ClipFormat(**trained.clip)
    network = folded(trained.network)
    with console.status("reading and scoring"), torch.inference_mode():
        views = read_views(Video(video, label=0), clip_format, Views(num_clips, num_crops), decoder)
        # One view at a time: thirty views of a large network at once would need tens of gigabytes.
        clips = (normalise(view, clip_format.mean, clip_format.std) for view in views.split(1))
        logits = [network(clip.contiguous(memory_format=torch.channels_last_3d)) for clip in clips]
        require_finite_scores(torch.cat(logits), checkpoint.name)
        probabilities = torch.cat(logits).double().softmax(dim=1).mean(dim=0)
    scored = Views(num_clips, num_crops).describe(clip_format)
    table = Table(title=f"{escape(printable(video.name))}: {scored}")
    table.add_column("class")
    table.add_column("probability", justify="right")
    for index in probabilities.argsort(descending=True)[:top].tolist():
        table.add_row(escape(trained.class_names[index]), f"{100 * float(probabilities[index]):.2f} %")
    console.print(table)
    if not trained.are_classes_named:
        again = f"videonl convert {checkpoint} --from videonl --classes FILE --out NEW_FILE"
        console.print(f"the checkpoint does not name its classes: {again}", soft_wrap=True, markup=False)
