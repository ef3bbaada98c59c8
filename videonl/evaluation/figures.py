"""The figures of a report, as bytes: confusion matrix (PNG), reliability diagram and accuracy by views (SVG)."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from videonl.evaluation.fewer_views import FewerViews
from videonl.evaluation.metrics import Calibration
from videonl.names import shortened

MOST_LABELED = 40  # classes; beyond, their names would overlap
MOST_NUMBERED = 20
INK, FAINT, ACCENT, SECOND = "#26323d", "#d5dbe1", "#2f6f8f", "#c08a3e"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#8c98a4",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "xtick.color": "#5b6875",
    "ytick.color": "#5b6875",
    "svg.fonttype": "none",
    "svg.hashsalt": "videonl",  # equal figures make equal files
}


def confusion_png(counts: Tensor, class_names: Sequence[str]) -> bytes:
    """Rows are true classes and sum to one, columns are predictions.

    Args:
        counts: Videos of each true class (row) taken for each class (column), (K, K).
        class_names: Names of the classes.
    """
    num_classes = len(class_names)
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    side = min(
        max(0.34 * num_classes, 2.6), 7.8
    )  # of the matrix alone, in inches: names lie outside and take none of it
    width = side + 0.35
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, side), dpi=160)
        axes = figure.add_axes((0, 0, side / width, 1))
        image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        bar = figure.add_axes((1 - 0.2 / width, 0.05, 0.2 / width, 0.9))
        figure.colorbar(image, cax=bar, label="fraction of the true class")
        axes.set(xlabel="predicted", ylabel="true")
        _name_classes(axes, class_names)
        if num_classes <= MOST_NUMBERED:
            _number_cells(axes, counts, shares)
        return to_png(figure)


def reliability_svg(calibration: Calibration) -> bytes:
    """Accuracy against confidence, above the number of videos of that confidence."""
    filled = calibration.counts > 0
    num_bins = len(calibration.counts)
    centers = [(place + 0.5) / num_bins for place in range(num_bins)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], color="#8c98a4", linewidth=1, linestyle=(0, (4, 3)), label="perfect")
        confidences, accuracies = calibration.confidences[filled].numpy(), calibration.accuracies[filled].numpy()
        above.vlines(confidences, confidences, accuracies, color=FAINT, linewidth=4)
        above.plot(confidences, accuracies, "o-", color=ACCENT, markersize=4.5, linewidth=1.3, label="measured")
        above.set(ylabel="accuracy", xlim=(0, 1), ylim=(-0.02, 1.02))
        above.legend(frameon=False, loc="upper left")
        below.bar(centers, calibration.counts.numpy(), width=0.9 / num_bins, color=ACCENT, alpha=0.55)
        below.set(xlabel="confidence", ylabel="videos")
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        calm(above, below)
        return to_svg(figure)


def views_svg(points: Sequence[FewerViews], metric: str = "top-1") -> bytes:
    """A metric against the number of clips, one line per number of crops, with 95% intervals."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for num_crops, color in zip(sorted({point.num_crops for point in points}), (ACCENT, SECOND), strict=False):
            line = [point for point in points if point.num_crops == num_crops]
            clips = [point.num_clips for point in line]
            low, high = ([100 * edge for edge in edges] for edges in zip(*(p.interval for p in line), strict=True))
            axes.fill_between(clips, low, high, color=color, alpha=0.12, linewidth=0)
            name = f"{num_crops} crop{'s' * (num_crops > 1)}"
            values = [100 * point.value for point in line]
            axes.plot(clips, values, "o-", color=color, markersize=4.5, linewidth=1.3, label=name)
        axes.set(xlabel="clips per video", ylabel=f"{metric} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, loc="lower right")
        calm(axes)
        return to_svg(figure)


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    if len(class_names) > MOST_LABELED:
        return
    places, names = range(len(class_names)), [shortened(name) for name in class_names]
    # parse_math: a name may hold dollar signs.
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    axes.tick_params(length=0)


def _number_cells(axes: Axes, counts: Tensor, shares: Tensor) -> None:
    for row, column in counts.nonzero().tolist():
        color = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=color, fontsize=8)


def calm(*all_axes: Axes) -> None:
    """Faint horizontal lines behind the data, and no frame above and beside it."""
    for axes in all_axes:
        axes.grid(axis="y", color="#e6eaee", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)


def to_svg(figure: Figure) -> bytes:
    """A figure as an SVG; equal figures make equal files."""
    written = io.BytesIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return written.getvalue()


def to_png(figure: Figure) -> bytes:
    """A figure as a PNG, cropped to its content."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes; the tables beside have them in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(written, format="png", bbox_inches="tight", pad_inches=0.12)
    return written.getvalue()
