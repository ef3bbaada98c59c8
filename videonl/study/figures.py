"""The figures of a study: accuracy against cost, and learning curves, as SVG."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import mean
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from videonl.evaluation.figures import STYLE, calm, to_svg

_COLORS = ("#2f6f8f", "#c08a3e", "#3b7a57", "#b1543f", "#7d5ba6", "#8c98a4", "#4a90d9", "#a5a52b", "#d16ba5", "#26323d")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Point(NamedTuple):
    """A variant in the picture of accuracy against cost.

    Attributes:
        name: The variant's.
        value: Mean of the metric over seeds, from 0 to 1.
        deviation: Over seeds; NaN of one.
        gmacs: Of a clip; NaN where they are not known.
        step_seconds: Of a training step; NaN where it is not known.
    """

    name: str
    value: float
    deviation: float
    gmacs: float
    step_seconds: float


class Curve(NamedTuple):
    """The learning curves of a variant: one for each cell, by the number of epochs."""

    name: str
    validation: Sequence[Mapping[int, float]]
    loss: Sequence[Mapping[int, float]]


def cost_svg(points: Sequence[Point], metric: str) -> bytes | None:
    """A metric against multiply-adds and against the time of a step, bars of one standard deviation over seeds.

    Returns:
        None where no cost is known.
    """
    kinds = {
        "GMACs of a clip": [point.gmacs for point in points],
        "time of a training step (s)": [point.step_seconds for point in points],
    }
    shown = {label: costs for label, costs in kinds.items() if any(not math.isnan(cost) for cost in costs)}
    if not shown:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(shown) + 0.2, 3.4 + 0.17 * math.ceil(len(points) / 4)), layout="constrained")
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, (label, costs) in zip(panels, shown.items(), strict=True):
            for (color, marker), point, cost in zip(_styles(), points, costs, strict=False):
                bar = None if math.isnan(point.deviation) else 100 * point.deviation
                drawn = axes.errorbar([cost], [100 * point.value], yerr=bar, label=point.name, color=color, capsize=2)
                drawn.lines[0].set(marker=marker, markersize=6, linestyle="none")
            axes.set(xlabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(4))
        panels[0].set(ylabel=f"{metric} (%)")
        return _finished(figure, panels)


def curves_svg(curves: Sequence[Curve], metric: str) -> bytes | None:
    """Training loss and validation metric by epoch, as means over cells; shaded from the least to the greatest.

    Returns:
        None where nothing is logged yet.
    """
    kinds = {"training loss": ("loss", 1.0), f"validation {metric} (%)": ("validation", 100.0)}
    shown = {label: kind for label, kind in kinds.items() if any(any(getattr(c, kind[0])) for c in curves)}
    if not shown:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(shown) + 0.2, 3.4 + 0.17 * math.ceil(len(curves) / 4)), layout="constrained")
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (label, (kind, scale)) in zip(panels, shown.items(), strict=True):
            for (color, _), curve in zip(_styles(), curves, strict=False):
                _draw(axes, curve.name, getattr(curve, kind), scale, color)
            axes.set(xlabel="epochs", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _finished(figure, panels)


def _draw(axes: Axes, name: str, lines: Sequence[Mapping[int, float]], scale: float, color: str) -> None:
    epochs = sorted({epoch for line in lines for epoch in line})
    values = [[scale * line[epoch] for line in lines if epoch in line] for epoch in epochs]
    axes.fill_between(epochs, [min(v) for v in values], [max(v) for v in values], color=color, alpha=0.12, linewidth=0)
    marker = "o" if len(epochs) == 1 else ""
    axes.plot(epochs, [mean(v) for v in values], color=color, linewidth=1.4, label=name, marker=marker)


def _styles() -> "cycle[tuple[str, str]]":
    return cycle([(color, _MARKERS[place % len(_MARKERS)]) for place, color in enumerate(_COLORS)])


def _finished(figure: Figure, panels: Sequence[Axes]) -> bytes:
    calm(*panels)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, ncols=4, frameon=False, loc="outside lower center")
    return to_svg(figure)
