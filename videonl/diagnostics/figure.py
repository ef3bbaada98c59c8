"""The diagnosis as one picture: a row for each block."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from videonl.diagnostics.diagnosis import BlockDiagnosis
from videonl.diagnostics.looking import Looking
from videonl.evaluation.figures import ACCENT, FAINT, INK, SECOND, STYLE, to_png
from videonl.names import shortened

PARTS = {"itself": SECOND, "own_frame": "#e3c48f", "own_place": ACCENT, "elsewhere": "#a9c6d3"}
_FULL, _EVEN = 0.42, 0.2  # heights of the bars


def diagnosis_png(blocks: Sequence[BlockDiagnosis]) -> bytes:
    """Where each block attends, how much its queries differ, and what accuracy loses without it.

    Args:
        blocks: In the network's order.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.6 + 0.62 * len(blocks)), dpi=110, layout="constrained")
        panels = figure.subplots(1, 5, sharey=True, width_ratios=(4, 2, 2, 2, 3))
        shares, entropy, distance, contribution, lost = panels
        for row, block in enumerate(blocks):
            if block.attention is not None:
                _shares(shares, row - 0.12, block.attention.looking, _FULL, 1)
                _shares(shares, row + 0.3, block.attention.even, _EVEN, 0.45)
                _bar(entropy, row, block.attention.looking.entropy)
                entropy.plot([block.attention.even.entropy], [row], "|", color=INK, markersize=13)
                _bar(distance, row, block.attention.query_distance)
            _bar(contribution, row, block.contribution)
            low, high = (100 * edge for edge in block.effect.interval)
            lost.plot([low, high], [row, row], color=ACCENT, linewidth=2)
            lost.plot([100 * block.effect.lost], [row], "o", color=ACCENT, markersize=5)
        lost.axvline(0, color=FAINT, linewidth=1, zorder=0)
        _label(panels, blocks)
        return to_png(figure)


def _shares(axes: Axes, row: float, looking: Looking, height: float, alpha: float) -> None:
    left = 0.0
    for part, color in PARTS.items():
        share = getattr(looking, part)
        axes.barh(row, share, left=left, height=height, color=color, alpha=alpha)
        left += share


def _bar(axes: Axes, row: int, value: float) -> None:
    axes.barh(row, value, height=_FULL, color=ACCENT)


def _label(panels: Sequence[Axes], blocks: Sequence[BlockDiagnosis]) -> None:
    titles = (
        "share of the weight\n(thin: uniform attention)",
        "entropy / log M\n(mark: uniform)",
        "distance between\nqueries' maps",
        "|change| / |x|",
        "top-1 points lost\nwithout the block",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    shares, entropy, distance, contribution = panels[:4]
    shares.set(xlim=(0, 1), ylim=(len(blocks) - 0.4, -0.6), xticks=(0, 0.5, 1))
    shares.set_yticks(range(len(blocks)), [shortened(block.name) for block in blocks], parse_math=False)
    entropy.set(xlim=(0, 1.05), xticks=(0, 0.5, 1))
    distance.set(xlim=(0, None))
    for axes in (distance, contribution):
        axes.locator_params(axis="x", nbins=2)  # of small values the numbers are long
    handles = [matplotlib.patches.Patch(color=color) for color in PARTS.values()]
    names = [part.replace("_", " ") for part in PARTS]
    shares.figure.legend(handles, names, ncols=4, frameon=False, loc="outside lower left")
