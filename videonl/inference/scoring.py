"""Scoring the videos of a data set, one after the other: the road of ``evaluate``, ``predict`` and the Python API."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING

from torch.utils.data import DataLoader

from videonl.data.batches import EvaluationBatch, collate_evaluation
from videonl.data.dataset import EvaluationVideos
from videonl.data.fetch_ahead import Foreseen
from videonl.data.loader import naming_shared_memory, worker_options
from videonl.evaluation import Average, VideoScore, VideoScores
from videonl.inference.recognizer import Recognizer
from videonl.runtime.ahead import ahead
from videonl.runtime.ranks import ALONE, Ranks

if TYPE_CHECKING:  # it needs pyarrow, which those who keep no file need not wait for
    from videonl.evaluation.unfinished import UnfinishedEvaluation

_AHEAD = 2  # videos that are read while one is scored, where no worker process does it
_log = logging.getLogger(__name__)


def score_videos(
    recognizer: Recognizer,
    average: Average,
    data: EvaluationVideos,
    unfinished: "UnfinishedEvaluation | None" = None,
    num_workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    ranks: Ranks = ALONE,
) -> tuple[list[VideoScore], dict[str, str]]:
    """Scores the videos that have no score yet, each in passes of its own, and notes those that cannot be read.

    Of several processes, each scores those that it takes; process 0 knows which have scores.

    Args:
        recognizer: The network.
        average: How the views of a video are averaged.
        data: The videos and their views.
        unfinished: Has the scores of before, and gets each new one at once.
        num_workers: Processes that decode; 0 decodes in a thread of this process.
        progress: Is told the number of videos done, and of all, by all processes.
        ranks: The processes that share the videos.

    Returns:
        The scores of before and of this process in the order of the videos, and for each unreadable file the reason.
    """
    scores = {score.video: score for score in unfinished.scores} if unfinished else {}
    missing = ranks.told("missing", [video for video in range(len(data)) if video not in scores])
    unreadable: dict[str, str] = {}
    for batch in _batches(data, ranks.shared(missing), num_workers):
        for failure in batch["failures"]:
            _log.warning("skipped %s: %s", failure.path, failure.reason)
            unreadable[failure.path] = failure.reason
        for score in _scores_of(recognizer, average, batch):
            scores[score.video] = score
            if unfinished:
                unfinished.add(score)
        progress(len(data) - len(missing) + ranks.count(), len(data))
    return [scores[video] for video in sorted(scores)], unreadable


def _batches(data: EvaluationVideos, missing: Iterable[int], num_workers: int) -> Iterator[EvaluationBatch]:
    """One video at a time: each is on disk as soon as it is scored, and whole frames differ in size."""
    batches = Foreseen(([video] for video in missing), num_workers)
    if num_workers == 0:
        # Worker processes would import the user's script anew, which not every script allows; decoders let other
        # threads run meanwhile.
        yield from ahead(_read(data, batches), _AHEAD)
        return
    options = worker_options(num_workers)
    with naming_shared_memory():
        yield from DataLoader(data, batch_sampler=batches, collate_fn=collate_evaluation, **options)


def _read(data: EvaluationVideos, batches: Foreseen) -> Generator[EvaluationBatch, None, None]:
    for batch in batches:
        yield collate_evaluation(data.__getitems__(batch))


def _scores_of(recognizer: Recognizer, average: Average, batch: EvaluationBatch) -> list[VideoScore]:
    collected = VideoScores(average)
    if len(batch["video"]):
        logits = recognizer.logits(batch["clip"])
        collected.update(logits, batch["view"], batch["video"], batch["label"], batch["path"])
    return collected.gather()
