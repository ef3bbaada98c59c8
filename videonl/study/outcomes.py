"""What a study says of its variants: means over seeds, differences to the baseline with intervals, costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, median, stdev

import numpy as np

from videonl.errors import UserError
from videonl.evaluation import EvaluationRecord, VideoScore, stack
from videonl.evaluation.comparison import mcnemar
from videonl.evaluation.hierarchical import hierarchical_bootstrap
from videonl.evaluation.intervals import CONFIDENCE, Floats, Interval, Statistic
from videonl.evaluation.metrics import TITLES, statistics_of
from videonl.evaluation.pairing import pairs_of
from videonl.evaluation.several import average_precisions
from videonl.study.results import Results

_OF_HITS = ("top1", "mean_class")


@dataclass(frozen=True)
class Gain:
    """A variant minus the baseline, paired by seeds and videos.

    Attributes:
        num_seeds: Seeds that both have.
        difference: Of the means over these seeds.
        interval: 95% interval of the difference, over videos and, of several seeds, over seeds.
        p_value: Of McNemar's exact test where there is one seed, of metrics that count hits.
        num_changed: Videos that the variant gets right more often than the baseline, or less often; of these metrics.
    """

    num_seeds: int
    difference: float
    interval: Interval
    p_value: float | None = None
    num_changed: int | None = None

    @property
    def verdict(self) -> str:
        """``better`` or ``worse``; ``not separated`` where the interval holds zero.

        Nor are they separated where too few videos changed for any test to tell: the interval is then too narrow.
        """
        low, high = self.interval
        least_p = mcnemar(self.num_changed, 0) if self.num_changed is not None else 0.0
        if low <= 0 <= high or max(least_p, self.p_value or 0.0) >= 1 - CONFIDENCE:
            return "not separated"
        return "better" if low > 0 else "worse"


@dataclass(frozen=True)
class Outcome:
    """What there is of a variant.

    Attributes:
        name: The variant's.
        metrics: By name, one value for each seed that is finished.
        seeds: These seeds.
        classes: The accuracy of every class, or of several labels its average precision, as a mean over seeds.
        gain: The difference to the baseline, where both have a seed in common.
        parameters: Of the network; None where it is not known.
        macs: Multiply-adds of one clip.
        step_seconds: Of a training step, the median over cells; NaN where it is not known.
        clips_per_second: Of the training.
        peak_memory_bytes: The most memory that a process of a training held.
    """

    name: str
    metrics: Mapping[str, Sequence[float]]
    seeds: Sequence[int]
    classes: Mapping[str, float] = field(default_factory=dict)
    gain: Gain | None = None
    parameters: int | None = None
    macs: int | None = None
    step_seconds: float = math.nan
    clips_per_second: float = math.nan
    peak_memory_bytes: float = math.nan

    def mean(self, metric: str) -> float:
        """Over seeds; NaN where no seed is finished."""
        return mean(self.metrics[metric]) if self.metrics.get(metric) else math.nan

    def deviation(self, metric: str) -> float:
        """The standard deviation over seeds, of n - 1; NaN of fewer than two."""
        values = self.metrics.get(metric, [])
        return stdev(values) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Findings:
    """What a study says.

    Attributes:
        metric: The metric that is compared.
        num_videos: Test videos of known class; 0 where nothing is finished.
        num_classes: Classes.
        outcomes: One for each variant, in the order of the study.
        baseline: The variant that the others are compared with.
        excluded: Why a finished seed of a variant cannot be compared, by ``VARIANT-seedN``.
    """

    metric: str
    num_videos: int
    num_classes: int
    outcomes: Sequence[Outcome]
    baseline: str | None
    excluded: Mapping[str, str]

    @property
    def title(self) -> str:
        """What the metric is called in tables."""
        return TITLES[self.metric]

    @property
    def compared(self) -> list[tuple[Outcome, Gain]]:
        """The variants that have a difference to the baseline."""
        return [(outcome, outcome.gain) for outcome in self.outcomes if outcome.gain is not None]

    @property
    def conclusion(self) -> list[str]:
        """Which variants are better or worse than the baseline, in sentences; no winner where none is."""
        if self.baseline is None:
            return ["The study names no baseline, so no variant is compared with another."]
        if not self.compared:
            return [f"There is no variant yet that has a finished seed in common with {self.baseline}."]
        found = {verdict: _names(self.compared, verdict) for verdict in ("better", "worse", "not separated")}
        lines = [
            f"{'Better' if verdict == 'better' else 'Worse'} than {self.baseline} by {self.title}: {found[verdict]}."
            for verdict in ("better", "worse")
            if found[verdict]
        ]
        if not found["better"]:
            lines.insert(0, f"No winner: no variant is better than {self.baseline} by an interval without zero.")
        if found["not separated"]:
            lines.append(f"Not separated from {self.baseline}: {found['not separated']}.")
        return lines

    @property
    def cautions(self) -> list[str]:
        """What to bear in mind about the differences."""
        fewest = min((gain.num_seeds for _, gain in self.compared), default=0)
        lines = []
        if fewest == 1:
            lines.append("One seed says nothing of another training: its intervals count the videos alone.")
        elif fewest == 2:
            lines.append("Intervals of two seeds are rough; train three or more.")
        if (number := len(self.compared)) > 1:
            by_chance = 100 * (1 - CONFIDENCE**number)
            lines.append(
                f"Each of the {number} intervals is at 95 %: where no variant differed, one of them or more would "
                f"leave zero out with a probability of up to {by_chance:.0f} %."
            )
        return lines


def findings_of(results: Results) -> Findings:
    """Compares what is finished.

    Raises:
        UserError: The study's metric is not one of its evaluations.
    """
    study = results.study
    tests = {variant: results.records(variant) for variant in study.variants}
    first = [name for name in (study.baseline, *study.variants) if name is not None]
    reference = next((record for name in first for record in tests[name].values()), None)
    if reference is None:
        outcomes = [_costs(results, variant, 2, Outcome(variant, {}, [])) for variant in study.variants]
        return Findings(study.metric or "top1", 0, 0, outcomes, study.baseline, {})
    metric = study.metric or ("map" if reference.has_several_labels else "top1")
    aligned, excluded = _aligned(reference, tests)
    known = {
        variant: {
            seed: _Scored(scores, statistics_of(scores, tests[variant][seed].threshold)) for seed, scores in of.items()
        }
        for variant, of in aligned.items()
    }
    num_classes = len(reference.class_names)
    outcomes = [
        _costs(results, variant, num_classes, _outcome(variant, known, study.baseline, metric, reference.class_names))
        for variant in study.variants
    ]
    return Findings(metric, len(reference.labeled), num_classes, outcomes, study.baseline, excluded)


@dataclass(frozen=True)
class _Scored:
    """The test of one seed of a variant, its videos in the order of all others'."""

    scores: Sequence[VideoScore]
    statistics: Mapping[str, Statistic]

    def statistic(self, metric: str) -> Statistic:
        if metric not in self.statistics:
            raise UserError(f"metric {metric} is not one of these evaluations; choose {', '.join(self.statistics)}")
        return self.statistics[metric]


Known = Mapping[str, Mapping[int, _Scored]]


def _aligned(
    reference: EvaluationRecord, tests: Mapping[str, Mapping[int, EvaluationRecord]]
) -> tuple[dict[str, dict[int, list[VideoScore]]], dict[str, str]]:
    """The scores of the same videos in the same order, and which tests are not of these videos."""
    aligned: dict[str, dict[int, list[VideoScore]]] = {variant: {} for variant in tests}
    excluded: dict[str, str] = {}
    for variant, of in tests.items():
        for seed, record in of.items():
            try:
                aligned[variant][seed] = [pair.b for pair in pairs_of(reference, record)]
            except UserError as error:
                excluded[f"{variant}-seed{seed}"] = str(error)
    return aligned, excluded


def _outcome(variant: str, known: Known, baseline: str | None, metric: str, class_names: Sequence[str]) -> Outcome:
    own = known[variant]
    once = {seed: np.ones((1, len(scored.scores))) for seed, scored in own.items()}
    names = list(next(iter(own.values())).statistics) if own else []
    metrics = {name: [float(scored.statistics[name](once[seed])[0]) for seed, scored in own.items()] for name in names}
    gain = None if baseline is None or variant == baseline else _gain(known[baseline], own, metric)
    return Outcome(variant, metrics, list(own), _classes(own, class_names), gain)


def _gain(base: Mapping[int, _Scored], own: Mapping[int, _Scored], metric: str) -> Gain | None:
    seeds = [seed for seed in own if seed in base]
    if not seeds:
        return None
    num_videos = len(own[seeds[0]].scores)
    differences = [_minus(own[seed].statistic(metric), base[seed].statistic(metric)) for seed in seeds]
    once = np.ones((1, num_videos))
    difference = mean(float(each(once)[0]) for each in differences)
    interval = hierarchical_bootstrap(differences, num_videos)
    if metric not in _OF_HITS:
        return Gain(len(seeds), difference, interval)
    changes = np.sum([_hits(own[seed].scores) - _hits(base[seed].scores) for seed in seeds], axis=0)
    num_fixed, num_broken = int((changes > 0).sum()), int((changes < 0).sum())
    p_value = mcnemar(num_fixed, num_broken) if len(seeds) == 1 else None
    return Gain(len(seeds), difference, interval, p_value, num_fixed + num_broken)


def _minus(own: Statistic, base: Statistic) -> Statistic:
    return lambda counts: own(counts) - base(counts)


def _hits(scores: Sequence[VideoScore]) -> Floats:
    return np.array([score.prediction == score.label for score in scores], dtype=np.float64)


def _classes(own: Mapping[int, _Scored], class_names: Sequence[str]) -> dict[str, float]:
    """The mean over seeds of every class's accuracy, or average precision; of classes that occur."""
    if not own:
        return {}
    means = np.mean([_class_values(scored.scores, len(class_names)) for scored in own.values()], axis=0)
    return {name: float(value) for name, value in zip(class_names, means, strict=True) if not math.isnan(value)}


def _class_values(scores: Sequence[VideoScore], num_classes: int) -> Floats:
    if isinstance(scores[0].label, tuple):
        return average_precisions(*stack(scores))
    labels = np.array([score.label for score in scores])
    hits = _hits(scores)
    sums, numbers = (np.bincount(labels, weights, minlength=num_classes) for weights in (hits, np.ones(len(hits))))
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def _costs(results: Results, variant: str, num_classes: int, outcome: Outcome) -> Outcome:
    cost, cells = results.study.costs.get(variant), results.of(variant)
    parameters, macs = (None, None) if cost is None else cost.of(num_classes)
    return replace(
        outcome,
        parameters=parameters,
        macs=macs,
        step_seconds=_median([result.step_seconds for result in cells]),
        clips_per_second=_median([result.log.clips_per_second for result in cells]),
        peak_memory_bytes=_median([result.log.peak_memory_bytes for result in cells]),
    )


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan


def _names(compared: Sequence[tuple[Outcome, Gain]], verdict: str) -> str:
    return ", ".join(outcome.name for outcome, gain in compared if gain.verdict == verdict)
