"""``videonl predict --video FILE``: the best classes of single videos."""

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from torch import Tensor

from videonl.cli.refusals import local_video, require_at_least, require_finite_scores
from videonl.data.dataset import read_views
from videonl.data.reading.decoding import DecodingError
from videonl.data.sources.labels import UNKNOWN
from videonl.data.transforms import ClipFormat, Views
from videonl.data.video import Video
from videonl.evaluation.views import average_views
from videonl.inference import Recognizer
from videonl.models.checkpoints import load_trained
from videonl.terminal import Console, printable

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
        checkpoint: A checkpoint of ``videonl fit``, or converted weights with a classifier.
        num_clips: Clips, evenly spaced in time.
        num_crops: Crops of each clip, evenly spaced along its longer side.
        top: How many classes to print.
        decoder: ``auto``, ``pyav``, ``decord`` or ``torchcodec``.
        trust_code: Let the checkpoint name any code, which is run; say so for your own files.
    """
    console = Console()
    require_at_least(1, top=top)
    videos = [local_video(name) for name in video]
    trained = load_trained(checkpoint, trust_code)
    recognizer, views = Recognizer(trained.network, ClipFormat(**trained.clip)), Views(num_clips, num_crops)
    failures = []
    for path in videos:
        try:
            with console.status("reading and scoring"):
                logits = recognizer.logits(read_views(Video(path, UNKNOWN), recognizer.clip, views, decoder))
        except DecodingError as error:
            failures.append(error)
            if len(videos) > 1:
                logger.error("%s", error)
            continue
        require_finite_scores(logits, checkpoint.name)
        probabilities = average_views(logits)
        console.print(_table(path, views.describe(recognizer.clip), probabilities, trained.class_names, top))
    if len(failures) < len(videos) and not trained.are_classes_named:
        again = f"videonl convert {checkpoint} --from videonl --classes FILE --out NEW_FILE"
        console.print(f"the checkpoint does not name its classes: {again}", soft_wrap=True, markup=False)
    if len(videos) == len(failures) == 1:
        raise failures[0]
    if failures:
        raise SystemExit(1)


def _table(video: Path, scored: str, probabilities: Tensor, class_names: Sequence[str], top: int) -> Table:
    table = Table(title=f"{escape(printable(video.name))}: {scored}")
    table.add_column("class")
    table.add_column("probability", justify="right")
    for index in probabilities.argsort(descending=True)[:top].tolist():
        table.add_row(escape(class_names[index]), f"{100 * float(probabilities[index]):.2f} %")
    return table
