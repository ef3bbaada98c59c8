"""The network without some of its blocks, or with their mean change: what accuracy depends on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from videonl.blocks import AttentionBlock
from videonl.evaluation import EvaluationRecord, VideoScore, compare
from videonl.evaluation.intervals import Interval

Forward = Callable[..., Tensor]


@contextmanager
def switched_off(blocks: Iterable[AttentionBlock]) -> Iterator[None]:
    """Makes blocks return their input; restores them at the end.

    A network that ``torch.compile`` has already traced does not see it.
    """

    def hand_on(x: Tensor, *low: Tensor) -> Tensor:
        return x

    with _running(dict.fromkeys(blocks, hand_on)):
        yield


@contextmanager
def made_alike(block: AttentionBlock) -> Iterator[None]:
    """Makes a block change all positions by the mean of its changes; restores it at the end.

    For a non-local block in evaluation, everything after its weights is affine, so this equals attention with the mean
    of all queries' weights for every query: a global context block.
    """
    whole = block.forward

    def change_alike(x: Tensor, *low: Tensor) -> Tensor:
        change = whole(x, *low) - x
        return x + change.mean(dim=(2, 3, 4), keepdim=True)

    with _running({block: change_alike}):
        yield


@contextmanager
def _running(forwards: dict[AttentionBlock, Forward]) -> Iterator[None]:
    for block, forward in forwards.items():
        block.forward = forward  # type: ignore[method-assign]  # over the class's own, until it is deleted
    try:
        yield
    finally:
        for block in forwards:
            del block.forward


class Effect(NamedTuple):
    """The effect of a change, such as a block switched off, on accuracy over the same clips.

    Attributes:
        top1: Accuracy with the change.
        lost: Accuracy of the whole network minus that, from -1 to 1.
        interval: 95% interval of ``lost``, by the paired bootstrap over clips.
        p_value: Of McNemar's exact test.
        num_changed: Clips whose prediction changes.
    """

    top1: float
    lost: float
    interval: Interval
    p_value: float
    num_changed: int


def effect(class_names: list[str], changed: Sequence[VideoScore], whole: Sequence[VideoScore]) -> Effect:
    """Compares the predictions of a changed network to those of the whole one.

    Args:
        class_names: In the order of the logits.
        changed: The scores of the changed network.
        whole: The scores of the whole network, of the same clips.
    """
    compared = compare(EvaluationRecord(class_names, list(changed)), EvaluationRecord(class_names, list(whole)))
    # Of several labels, the share of the clips whose most probable class is a true one.
    top1 = compared.metrics["top1"] if "top1" in compared.metrics else compared.metrics["hit1"]
    num_changed = sum(a.prediction != b.prediction for a, b in zip(changed, whole, strict=True))
    return Effect(top1.a, top1.difference, top1.interval, compared.p_value, num_changed)
