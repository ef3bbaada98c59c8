"""Predicting many videos: listed, scored one after the other, kept on disk as they come."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from videonl.data.dataset import EvaluationVideos
from videonl.data.reading.decoding import check_decoder
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labels import assign_known
from videonl.data.sources.several import joined, labels_of
from videonl.data.sources.videos import files_read, read_videos
from videonl.data.transforms import Views
from videonl.errors import UserError
from videonl.evaluation import Average, EvaluationRecord
from videonl.evaluation.about import describe_network, digest, today
from videonl.evaluation.views import SEVERAL_LABELS, require_finite
from videonl.inference.predictions import Predictions, format_of
from videonl.inference.recognizer import Recognizer, fingerprint
from videonl.inference.scoring import score_videos
from videonl.inference.unfinished_predictions import joined_by_first, report_of, unfinished_predictions
from videonl.outputs import check_file
from videonl.runtime.progress import progress_bar
from videonl.runtime.ranks import ALONE, Ranks
from videonl.terminal import printable


class Asked(NamedTuple):
    """Which videos are to be predicted, and how.

    Attributes:
        sources: As :func:`videonl.data.sources.videos.read_videos` takes them.
        views: Of each video.
        average: How the views of a video are averaged.
        decoder: A name in ``decoding.DECODERS``.
        num_workers: Processes that decode; 0 decodes in a thread of this process.
        time_limit_seconds: How long a clip may take to read in such a process; ``None`` for ever.
        threshold: Of several labels, the probability from which a class counts as predicted, if it is known.
        columns: As ``read_videos`` takes them, for lists.
        path_prefix: The same.
    """

    sources: Sequence[str]
    views: Views
    average: Average = "softmax"
    decoder: str = "auto"
    num_workers: int = 0
    time_limit_seconds: float | None = None
    threshold: float | None = None
    columns: str | None = None
    path_prefix: str | None = None

    @property
    def has_several_labels(self) -> bool:
        """Whether a video may have any number of classes, rather than one."""
        return self.average in SEVERAL_LABELS


def predict_videos(
    recognizer: Recognizer,
    class_names: Sequence[str],
    asked: Asked,
    out: str | Path | None = None,
    progress: bool = True,
    top: int = 5,
    ranks: Ranks = ALONE,
) -> Predictions:
    """Predicts videos; interrupted, the same call goes on where it stopped, in any number of processes.

    Args:
        recognizer: The network.
        class_names: Names in the order of the logits.
        asked: The videos and their views.
        out: The file to write, ``.parquet``, ``.csv`` or ``.json``; while it is not complete, what is scored lies
            beside it, in ``.part``.
        progress: Whether to show it.
        top: How many classes a row of ``.csv`` and ``.json`` has.
        ranks: The processes that share the videos, for which there must be a file to write.

    Returns:
        All predictions; in processes other than 0 those of its own share.

    Raises:
        UserError: A source is missing or malformed, the file cannot be written, scores are not finite, or processes are
            asked for different things.
    """
    check_decoder(asked.decoder)
    out = None if out is None else Path(out)
    if out is not None:
        format_of(out)
        check_file(out, files_read(asked.sources))
    several = asked.has_several_labels

    def merged(entry: LabeledPath, again: LabeledPath) -> LabeledPath:
        return _merged(_known(entry, class_names, several), _known(again, class_names, several), several)

    listed = read_videos(asked.sources, asked.columns, asked.path_prefix, merged)
    entries = [_known(entry, class_names, several) for entry in listed]
    videos = assign_known(entries, class_names, several)
    columns = len(class_names) if several else None
    data = EvaluationVideos(videos, recognizer.clip, asked.views, asked.decoder, asked.time_limit_seconds, columns)
    about = {
        **describe_network(recognizer.network),
        "views": asked.views.describe(recognizer.clip),
        "clip": recognizer.clip.describe(),
        **({} if asked.threshold is None else {"threshold": f"{asked.threshold:.6g}"}),
    }
    key: dict[str, object] = {"average": asked.average, "about": about, "videos": digest(repr(videos).encode())}
    if out is not None:
        key["network"] = fingerprint(recognizer)
        dtypes = {str(tensor.dtype) for tensor in recognizer.network.parameters()}
        ranks.require_same(
            videos=str(key["videos"]),
            weights=str(key["network"]),
            options=repr((class_names, asked.average, about, top, out.name, recognizer.views_per_step, *dtypes)),
        )
    with unfinished_predictions(out, list(class_names), key, ranks) as unfinished:
        shown = progress_bar("scoring") if progress and ranks.is_first else nullcontext(lambda done, total: None)
        with shown as tell:
            scores, unreadable = score_videos(
                recognizer, asked.average, data, unfinished, asked.num_workers, tell, ranks
            )
            if unfinished is not None and ranks.is_first and ranks.world_size > 1:
                scores, unreadable = joined_by_first(unfinished, scores, unreadable, data, tell, ranks)
        reasons = {printable(path): reason for path, reason in unreadable.items()}
        record = EvaluationRecord(list(class_names), scores, about | today(), reasons)
        predictions = Predictions(record, [printable(str(video.path)) for video in videos])
        if ranks.is_first:
            require_finite(scores)
            if out is not None and unfinished is not None:
                predictions.save(out, top)
                unfinished.remove()
    if not ranks.is_first:  # its file is closed, and can be read
        ranks.reports("done", report_of(scores, unreadable))
    return predictions


def _known(entry: LabeledPath, class_names: Sequence[str], several: bool) -> LabeledPath:
    """Without a label that the network does not know, which is none of a prediction's business."""
    try:
        names = labels_of(entry.label or "") if several else (entry.label,)
    except ValueError:
        names = (entry.label,)
    return entry if {*names} <= {*class_names} else entry._replace(label=None)


def _merged(entry: LabeledPath, again: LabeledPath, several: bool) -> LabeledPath:
    """Two entries of one place as one, with the labels of both where a video may have several.

    Raises:
        UserError: It may have one, and they differ.
    """
    if again.label is None or again.label == entry.label:
        return entry
    if entry.label is None:
        return again
    if several:
        return entry._replace(label=joined((*labels_of(entry.label), *labels_of(again.label))), number="")
    raise UserError(
        f"{again.origin}: gives {again.path} the label {again.label!r}, and {entry.origin} gives it {entry.label!r}. "
        "Remove one: here a video has one label."
    )
