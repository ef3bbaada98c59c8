"""The probabilities of classes over the time of a video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videonl.errors import UserError, require_within
from videonl.terminal import printable
from videonl.visualization.timeline.colors import OTHER, PALETTE, by_importance
from videonl.visualization.timeline.formats import clock
from videonl.visualization.timeline.segments import Segment, cell_bounds, join_cells

THRESHOLD = 0.5
_MOST_LINES = 8  # of segments where a timeline is printed


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a network says of the windows of one video, in the order of time.

    Attributes:
        video: The file, or what the video is called.
        class_names: Names in the order of the columns of ``probabilities``.
        times: The middle of each window in seconds, (N,) float64.
        spans: When each window starts and ends, (N, 2) float64.
        probabilities: Of every class, averaged over the crops of a window, (N, K) float64; rows sum to 1.
        duration_seconds: Of the video.
        fps: Frames per second of the video, on average.
        about: How it was made: the network, its clips, the windows.

    Examples:
        >>> probabilities = np.array([[0.75, 0.25], [0.875, 0.125], [0.375, 0.625]])
        >>> spans = np.array([[0.0, 2.0], [1.0, 3.0], [2.0, 4.0]])
        >>> timeline = Timeline("a.mp4", ["hug", "kick"], spans.mean(axis=1), spans, probabilities, 4.0, 25.0)
        >>> print(timeline)
        a.mp4, 0:04.0, 3 windows
          0:00.0 - 0:02.5   81.25 %  hug
          0:02.5 - 0:04.0   62.50 %  kick
        >>> timeline.top(1)[2]
        [('kick', 0.625)]
    """

    video: str
    class_names: Sequence[str]
    times: NDArray[np.float64]
    spans: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    duration_seconds: float
    fps: float
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        windows, classes = len(self.times), len(self.class_names)
        if not windows or self.spans.shape != (windows, 2) or self.probabilities.shape != (windows, classes):
            raise UserError(
                f"a timeline of {windows} windows and {classes} classes needs spans ({windows}, 2) and probabilities "
                f"({windows}, {classes}), got {self.spans.shape} and {self.probabilities.shape}"
            )

    def __len__(self) -> int:
        return len(self.times)

    @property
    def starts(self) -> NDArray[np.float64]:
        """When the first frame of each window appears, in seconds, (N,)."""
        return self.spans[:, 0]

    @property
    def ends(self) -> NDArray[np.float64]:
        """When the last frame of each window makes way for the next one, in seconds, (N,)."""
        return self.spans[:, 1]

    @cached_property
    def bounds(self) -> list[float]:
        """Where the stretch begins that each window speaks for, in seconds, and where the last one ends: N + 1 times.

        The bounds lie midway between the middles of windows, and at the ends of the video.
        """
        return cell_bounds(self.times.tolist(), self.duration_seconds)

    @cached_property
    def best(self) -> NDArray[np.int64]:
        """The most probable class of each window, (N,); of equally probable ones the first."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return best

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k most probable classes of each window and their probabilities, the most probable first."""
        require_within(1, k=k)
        ranked = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return [
            [(self.class_names[index], float(row[index])) for index in best]
            for best, row in zip(ranked.tolist(), self.probabilities, strict=True)
        ]

    def segments(self, threshold: float = THRESHOLD, min_seconds: float = 0.0) -> list[Segment]:
        """Stretches in which one class is the most probable.

        Each window speaks for the time that is nearer to its middle than to that of another window; see :attr:`bounds`.
        Neighboring windows with the same most probable class are joined where its probability reaches the threshold.

        Args:
            threshold: Least probability of the most probable class, from 0 to 1.
            min_seconds: Shorter segments are dropped; what lies about them is not joined.

        Returns:
            The segments in order of time. They do not overlap, and leave out what lies below the threshold.
        """
        require_within(0, 1, threshold=threshold)
        require_within(0, min_seconds=min_seconds)
        probabilities = self.probabilities[np.arange(len(self)), self.best].tolist()
        joined = join_cells(self.bounds, self.best.tolist(), probabilities, threshold)
        segments = [
            Segment(self.bounds[first], self.bounds[behind], self.class_names[index], mean)
            for first, behind, index, mean in joined
        ]
        return [segment for segment in segments if segment.end - segment.start >= min_seconds]

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of one row per window: ``start``, ``time``, ``end``, and a column for each class.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UserError("to_pandas needs pandas, which is not installed: pip install pandas") from error
        when = {"start": self.starts, "time": self.times, "end": self.ends}
        frame = pandas.DataFrame(self.probabilities, columns=list(self.class_names))
        return pandas.concat([pandas.DataFrame(when), frame], axis=1)

    def save(
        self, path: str | Path, threshold: float = THRESHOLD, min_seconds: float = 0.0, embed: bool = False
    ) -> list[Path]:
        """Writes the timeline, whole or not at all.

        Args:
            path: The suffix says what is written. ``.html``: a page with the video, the probabilities and the segments.
                ``.csv``: the segments. ``.json``: everything. ``.srt`` and ``.vtt``: the segments as subtitles.
                ``.mp4``: the video with the classes drawn into it, without sound.
            threshold: As for :meth:`segments`.
            min_seconds: As for :meth:`segments`.
            embed: Put the video into the page instead of naming its file; for small videos.

        Returns:
            What was written: the file, and, where browsers cannot play the video, the copy that the page plays.

        Raises:
            UserError: There is no such format, or the file cannot be written.
        """
        from videonl.visualization.timeline.writing import Wanted, write  # knows this class

        return write(self, Path(path), Wanted(threshold, min_seconds, embed))

    def __str__(self) -> str:
        segments = self.segments()
        lines = [
            f"  {clock(one.start)} - {clock(one.end)}  {100 * one.probability:6.2f} %  {printable(one.label)}"
            for one in segments[:_MOST_LINES]
        ]
        more = [f"  and {len(segments) - _MOST_LINES} more"] if len(segments) > _MOST_LINES else []
        return "\n".join([f"{printable(self.video)}, {self._size}", *lines, *more])

    def __repr__(self) -> str:
        return f"Timeline({self.video!r}: {self._size}, {len(self.class_names)} classes)"

    @property
    def _size(self) -> str:
        return f"{clock(self.duration_seconds)}, {len(self)} window{'s' * (len(self) != 1)}"

    @cached_property
    def colors(self) -> dict[str, str]:
        """The color of each of the most important classes, by name; the others share one."""
        order = by_importance(self.probabilities, self.bounds).tolist()
        return {self.class_names[index]: color for index, color in zip(order, PALETTE, strict=False)}

    def _repr_html_(self) -> str:
        """A strip of the segments and a table of the first ones, for notebooks."""
        segments, rows, strip = self.segments(), [], []
        for one in segments:
            color, label = self.colors.get(one.label, OTHER), escape(printable(one.label))
            left, width = (100 * seconds / self.duration_seconds for seconds in (one.start, one.end - one.start))
            place = f"position:absolute;top:0;bottom:0;left:{left:.3f}%;width:{width:.3f}%;background:{color}"
            strip.append(f'<div style="{place}" title="{label}"></div>')
            times = f"{clock(one.start)} to {clock(one.end)}"
            rows.append(
                f'<tr><td>{times}</td><td style="text-align:left"><span style="color:{color}">■</span> '
                f"{label}</td><td>{100 * one.probability:.2f} %</td></tr>"
            )
        more = len(rows) - _MOST_LINES
        rest = f'<tr><td colspan="3">and {more} more</td></tr>' if more > 0 else ""
        return (
            f"<div>{escape(printable(self.video))}, {self._size}</div>"
            f'<div style="position:relative;height:1.4em;background:#8883">{"".join(strip)}</div>'
            f"<table>{''.join(rows[:_MOST_LINES])}{rest}</table>"
        )
