"""From the logits of a video's views to one probability per class."""

from typing import Literal, get_args

from torch import Tensor

from videonl.errors import UserError

Average = Literal["softmax", "logits", "sigmoid", "max"]
AVERAGES: tuple[Average, ...] = get_args(Average)
# The first one is the default of the task.
AVERAGES_OF: dict[str, tuple[Average, ...]] = {"single_label": ("softmax", "logits"), "multi_label": ("sigmoid", "max")}
IN_WORDS: dict[Average, str] = {
    "softmax": "the mean of the views' probabilities",
    "logits": "the softmax of the views' mean logits",
    "sigmoid": "the mean of the views' probabilities, each class by itself",
    "max": "the highest probability among the views, each class by itself",
}


def average_of(task: str, asked: Average | None = None) -> Average:
    """How a task averages the views of a video.

    Args:
        task: ``single_label`` or ``multi_label``.
        asked: What was asked for; None for the task's own way.

    Raises:
        UserError: It makes no sense for this task.

    >>> average_of("single_label"), average_of("multi_label"), average_of("multi_label", "max")
    ('softmax', 'sigmoid', 'max')
    """
    choices = AVERAGES_OF.get(task, AVERAGES)
    if asked is None:
        return choices[0]
    if asked not in AVERAGES:
        raise UserError(f"unknown average {asked!r}; choose one of {', '.join(choices)}")
    if asked not in choices:
        raise UserError(f"average {asked} makes no sense for task {task}; choose one of {', '.join(choices)}")
    return asked


def is_of_several(average: Average) -> bool:
    """Whether each class has a probability by itself, as of several labels; otherwise they sum to 1."""
    return average in AVERAGES_OF["multi_label"]


def average_views(logits: Tensor, average: Average = "softmax") -> Tensor:
    """Probabilities of a video from the logits of its views.

    Args:
        logits: (..., V, K).
        average: ``softmax`` takes the mean of the views' probabilities, ``logits`` the softmax of their mean logits;
            of several labels, ``sigmoid`` takes the mean of the views' sigmoids and ``max`` the highest of them.

    Returns:
        (..., K) float64.
    """
    logits = logits.double()
    if average == "softmax":
        return logits.softmax(dim=-1).mean(dim=-2)
    if average == "logits":
        return logits.mean(dim=-2).softmax(dim=-1)
    of_views = logits.sigmoid()
    return of_views.mean(dim=-2) if average == "sigmoid" else of_views.amax(dim=-2)
