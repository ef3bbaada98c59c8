"""What ``videonl doctor --cost`` says of preparing and training, as plain data and in words."""

from collections.abc import Mapping
from typing import Any

from videonl.data.preparing.cost import PrepareCost


def cost_of(needed: PrepareCost, num_clips: int, clips_per_second: float | None) -> dict[str, Any]:
    """What is printed as JSON.

    Args:
        needed: What preparing needs.
        num_clips: Of an epoch.
        clips_per_second: How many clips a training consumes; adds the time of an epoch, and how many workers decode as
            many of prepared videos.
    """
    decoding = needed.decoding
    cost = needed._asdict() | {"decoding": decoding and decoding._asdict()}
    if clips_per_second is not None:
        cost |= {"clips_per_second": clips_per_second, "epoch_seconds": num_clips / clips_per_second}
        cost |= {"num_workers": decoding and decoding.workers_for(clips_per_second)}
    return cost


def cost_lines(report: Mapping[str, Any]) -> list[str]:
    """The same in words; nothing where it was not asked for."""
    if "cost" not in report:
        return []
    cost = report["cost"]
    if cost is None:
        return ["cost: unknown, as no sampled video could be prepared"]
    mean, low, high = map(_core_time, cost["core_seconds"])
    lines = [
        f"estimated from {cost['num_measured']} of {cost['num_files']} files, by their frames: `videonl prepare` takes "
        f"{mean} ({low} to {high} with 95 % confidence) on cores as these; it reads {_size(cost['bytes_read'])} and "
        f"writes {_size(cost['bytes_written'])}"
    ]
    if decoding := cost["decoding"]:
        milliseconds = 1000 * decoding["mean_seconds"]
        rate = f"{1000 / milliseconds:.0f} clips/s per worker"
        lines += [f"of prepared videos, decoding a clip takes {milliseconds:.1f} ms on one core: {rate}"]
    if "epoch_seconds" in cost:
        workers = f", and {cost['num_workers']} workers decode as many of prepared videos" if decoding else ""
        lines += [f"at {cost['clips_per_second']:g} clips/s an epoch takes {duration(cost['epoch_seconds'])}{workers}"]
    return lines


def duration(seconds: float) -> str:
    """A duration in a suitable unit."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _core_time(seconds: float) -> str:
    """Time of cores.

    >>> _core_time(90), _core_time(9_000), _core_time(9_000_000)
    ('90.0 core-seconds', '2.5 core-hours', '2,500 core-hours')
    """
    hours = seconds / 3600
    if hours < 0.1:
        return f"{seconds:.1f} core-seconds"
    return f"{hours:,.0f} core-hours" if hours >= 10 else f"{hours:.1f} core-hours"


def _size(num_bytes: float) -> str:
    """A size in a suitable unit.

    >>> _size(7_000), _size(1.25e12)
    ('7.0 kB', '1.2 TB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 1e3:.1f} kB"
