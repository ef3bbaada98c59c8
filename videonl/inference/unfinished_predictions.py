"""What is scored so far, on disk while the work goes on, by one process or by several."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videonl.data.dataset import EvaluationVideos
from videonl.errors import UserError
from videonl.evaluation import VideoScore
from videonl.files import locked
from videonl.runtime.ranks import ALONE, Ranks, appears

if TYPE_CHECKING:
    from videonl.evaluation.unfinished import UnfinishedEvaluation

_NETWORK_DISK_SECONDS = 60.0  # after which at the latest one machine sees what another has written


@contextmanager
def unfinished_predictions(
    out: Path | None, class_names: list[str], key: dict[str, object], ranks: Ranks = ALONE
) -> "Iterator[UnfinishedEvaluation | None]":
    """The scores of before, and a place for new ones; nothing where no file is asked for.

    Args:
        out: The file of the predictions, which process 0 keeps from other commands meanwhile.
        class_names: Names in the order of the logits.
        key: Plain data that says which predictions these are.
        ranks: The processes that write. Those other than 0 begin when that one has taken over what there is.
    """
    if out is None:
        yield None
        return
    from videonl.evaluation.unfinished import UnfinishedEvaluation  # with pyarrow, which a file alone needs

    part, lock = out.with_name(f"{out.name}.part"), out.with_name(f".{out.name}.lock")
    if not ranks.is_first:
        ranks.begin(lock)
        with UnfinishedEvaluation(part, class_names, key, ranks.rank) as unfinished:
            yield unfinished
        return
    with (
        locked(lock, f"predictions are written to {out}"),
        UnfinishedEvaluation(part, class_names, key) as unfinished,
    ):
        ranks.begin(lock)
        yield unfinished


def report_of(scores: list[VideoScore], unreadable: dict[str, str]) -> dict[str, Any]:
    """What a process says when its share is done and its file is closed."""
    return {"num_scores": len(scores), "unreadable": unreadable}


def joined_by_first(
    unfinished: "UnfinishedEvaluation",
    scores: list[VideoScore],
    unreadable: dict[str, str],
    data: EvaluationVideos,
    progress: Callable[[int, int], None],
    ranks: Ranks,
) -> tuple[list[VideoScore], dict[str, str]]:
    """In process 0, what all processes have done, in the order of the videos, when they have done it.

    Raises:
        UserError: What another process has written is not seen here.
    """
    num_before = len(unfinished.scores)
    _, *reports = ranks.reports(
        "done", report_of(scores, unreadable), lambda: progress(num_before + ranks.count(0), len(data))
    )
    scored = {score.video: score for score in scores}
    for part, report in zip(unfinished.of_others(ranks.world_size), reports, strict=True):
        scored |= {score.video: score for score in _read_whole(unfinished, part, report["num_scores"])}
        unreadable = unreadable | report["unreadable"]
    places = {str(video.path): place for place, video in enumerate(data.videos)}
    in_order = sorted(unreadable, key=lambda path: places.get(path, len(places)))
    return [scored[video] for video in sorted(scored)], {path: unreadable[path] for path in in_order}


def _read_whole(unfinished: "UnfinishedEvaluation", part: Path, num_scores: int) -> list[VideoScore]:
    scores: list[VideoScore] = []

    def is_whole() -> bool:
        scores[:] = unfinished.read(part)
        return len(scores) >= num_scores

    if not appears(is_whole, _NETWORK_DISK_SECONDS):
        raise UserError(
            f"{part} of another process has {num_scores} videos, and {len(scores)} are seen here. Repeat the command"
        )
    return scores
