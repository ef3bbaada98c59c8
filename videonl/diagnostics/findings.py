"""Findings of a diagnosis in plain language, each with its values and the threshold."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from videonl.diagnostics.blocks_off import Effect
from videonl.diagnostics.diagnosis import BlockDiagnosis
from videonl.diagnostics.looking import Attention
from videonl.diagnostics.saturation import saturation
from videonl.evaluation.intervals import CONFIDENCE

EVEN = 0.05  # unevenness below which weights count as uniform
ALIKE = 0.02  # query distance below which the maps of queries count as the same
MOSTLY = 0.5  # least share that is most of the weight
ODDS = 2.0  # and least odds of that share over those under uniform attention
NEARBY = 0.5  # largest mean distance that is nearby, relative to that of uniform attention
FEW_KEYS = 0.05  # largest effective number of keys that is few, as a share of the keys
NEGLIGIBLE = 0.01  # relative contribution below which a block hardly changes its features
NOTABLE = 0.05  # least share of negative weights, or of silent queries, that is reported


class Finding(NamedTuple):
    """One finding about a block.

    Attributes:
        kind: A short name, for programs.
        text: The sentence, without the block's name.
    """

    kind: str
    text: str


def read_block(block: BlockDiagnosis, num_clips: int) -> list[Finding]:
    """All findings about a block.

    Args:
        block: The measures of the block.
        num_clips: The number of clips that they cover.
    """
    findings = [_effect_of(block, num_clips)]
    if not block.has_attention:
        findings.append(Finding("average", "averages all positions: it has no attention"))
    elif block.attention is None:
        findings.append(Finding("silent", "attends to nothing: every weight of every query is zero"))
    else:
        findings += [*_alike(block, block.attention), *_places(block.attention), *_signs(block.attention)]
        findings += _saturated(block, block.attention)
    return findings + [
        Finding(
            "cue",
            f"puts {figures.share.on_cue:.2f} of the probe's weight on the cue, which has {figures.share.area:.3f} of "
            f"the keys: {figures.share.ratio:.1f} times uniform attention "
            f"({figures.num_clips} clips)",
        )
        for figures in block.cue
        if figures.kind == "all"
    ]


def read_effect(effect: Effect, num_clips: int, what: str = "it") -> Finding:
    """Whether accuracy needs what was switched off."""
    if is_shown(effect):
        kind = "matters" if effect.lost > 0 else "harms"
        return Finding(kind, f"{kind}: top-1 is {_percent(effect.top1)} without {what} ({_points(effect)})")
    if effect.num_changed == 0:
        return Finding(
            "unneeded", f"is not needed on these clips: none of {num_clips} predictions changes without {what}"
        )
    return Finding(
        "unclear",
        f"is not shown to matter: {effect.num_changed} of {num_clips} predictions change without {what}, too few "
        f"or too balanced for a conclusion ({_points(effect)})",
    )


def is_shown(effect: Effect) -> bool:
    """Whether the clips tell the changed network from the whole: the interval and McNemar's test both say so."""
    low, high = effect.interval
    return (low > 0 or high < 0) and effect.p_value < 1 - CONFIDENCE


def _effect_of(block: BlockDiagnosis, num_clips: int) -> Finding:
    effect = block.effect
    if block.contribution < NEGLIGIBLE and effect.num_changed == 0:
        gain = f"its gain ({block.gain.of}) is {block.gain.value:.2g}, " if block.gain else ""
        return Finding(
            "no_effect",
            f"has no effect: {gain}it changes the features by "
            f"{100 * block.contribution:.2g} % (below {100 * NEGLIGIBLE:.0f} %), and accuracy does not change without "
            "it",
        )
    return read_effect(effect, num_clips)


def _alike(block: BlockDiagnosis, attention: Attention) -> Iterator[Finding]:
    """Whether the maps of queries differ, and whether accuracy depends on it."""
    differ = f"the mean cosine distance between two queries' maps is {attention.query_distance:.3f}"
    if attention.unevenness < EVEN:
        text = f"is close to uniform: moving {attention.unevenness:.3f} of its weight makes it uniform (below {EVEN})"
        yield Finding("even", text)
    elif not block.depends_on_query:
        yield Finding("query_independent", "is query-independent, as every block of its kind")
    elif attention.query_distance < ALIKE:
        yield Finding("query_independent", f"is query-independent: {differ} (below {ALIKE})")
    else:
        yield Finding("query_dependent", f"is query-dependent: {differ} (at least {ALIKE})")
    if block.alike is not None and is_shown(block.effect):
        alike = f"with the same change at every position top-1 is {_percent(block.alike.top1)}"
        if is_shown(block.alike):
            yield Finding("needs_queries", f"needs its queries: {alike} ({_points(block.alike)})")
        else:
            changed = f"{block.alike.num_changed} predictions change"
            yield Finding("gc_would_do", f"does not need its queries, a GC block would be enough: {alike} ({changed})")


def _places(attention: Attention) -> Iterator[Finding]:
    looking, even = attention.looking, attention.even
    num_keys = attention.num_keys**looking.entropy
    if num_keys <= max(1.5, FEW_KEYS * attention.num_keys) and attention.unevenness >= EVEN:
        yield Finding("few_keys", f"attends to few keys: effectively {num_keys:.1f} of {attention.num_keys:.0f}")
    candidates = [
        ("itself", "to its own position; a 1x1x1 convolution would be enough", looking.itself, even.itself),
        ("own_frame", "to its own frame", looking.itself + looking.own_frame, even.itself + even.own_frame),
        ("own_place", "to its own place in other frames", looking.own_place, even.own_place),
        (
            "other_frames",
            "to other frames",
            looking.own_place + looking.elsewhere,
            even.own_place + even.elsewhere,
        ),
    ]
    for kind, where, share, even_share in candidates:
        if share >= MOSTLY and _odds(share) >= ODDS * _odds(even_share):
            text = f"attends mostly {where}: {share:.2f} of its weight (uniform attention: {even_share:.2f})"
            yield Finding(kind, text)
            break
    near = [
        (f"{away:.1f} {unit} away (uniform attention: {of_even:.1f})")
        for unit, away, of_even in (
            ("px", looking.px_away, even.px_away),
            ("frames", looking.frames_away, even.frames_away),
        )
        if away < NEARBY * of_even
    ]
    if near:
        yield Finding("nearby", f"attends nearby: on average {' and '.join(near)}")


def _saturated(block: BlockDiagnosis, attention: Attention) -> Iterator[Finding]:
    text = saturation(attention.num_keys**attention.looking.entropy, block.affinity)
    if block.has_softmax and attention.unevenness >= EVEN and text:  # a single key is no saturation
        yield Finding("saturated", text)


def _signs(attention: Attention) -> Iterator[Finding]:
    if attention.negative >= NOTABLE:
        yield Finding("negative", f"has negative weights: {attention.negative:.2f} of its weight is negative")
    if attention.silent >= NOTABLE:
        yield Finding("silent", f"has queries without any weight: {attention.silent:.2f} of them")


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 - 1e-9 else math.inf


def _points(effect: Effect) -> str:
    low, high = effect.interval
    return f"{100 * effect.lost:.1f} points lost, 95 % interval {100 * low:.1f} to {100 * high:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
