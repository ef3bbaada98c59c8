"""The report on a data set from its index, as plain data."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from videonl.data.indexing.decode_time import DecodeTime
from videonl.data.indexing.findings import (
    beyond_the_end,
    contradictions,
    copies,
    labels_without_training,
    leaks,
    overlapping_splits,
    shared_clips,
    similar_labels,
    uneven_classes,
)
from videonl.data.indexing.findings import names_of as class_names_of
from videonl.data.indexing.index_file import IndexRow
from videonl.data.indexing.segments import seconds_of


def report_of(
    records: Sequence[IndexRow], measured: DecodeTime | None = None, clips_per_second: float | None = None
) -> dict[str, Any]:
    """Counts, durations, problems, and the time that decoding takes.

    Args:
        records: The rows of the index.
        measured: What decoding a clip takes, if it was measured.
        clips_per_second: How many clips a training consumes; adds how many workers decode as many.

    Returns:
        What ``videonl doctor --json`` prints.
    """
    usable = [record for record in records if record.usable]
    files = list({(record.shard, record.path): record for record in usable}.values())
    report: dict[str, Any] = {
        "num_videos": len(records),
        "num_segments": sum(record.segment is not None for record in records),
        "num_files": len({(record.shard, record.path) for record in records}),
        "status": dict(Counter(record.status for record in records)),
        "splits": _splits(records),
        "classes": _classes(records),
        "codecs": dict(Counter(f"{record.container}/{record.codec}" for record in files).most_common()),
        "reasons": dict(Counter(record.reason for record in records if not record.usable).most_common()),
        "broken": [f"{record.name}: {record.reason}" for record in records if not record.usable],
        "damaged": [f"{record.name}: {record.reason}" for record in records if record.status == "damaged"],
        "num_compared": sum(bool(record.compared_backends) for record in files),
        "inexact": _inexact(files),
        "non_square": _counts(record.pixel_aspect for record in files),
        "interlaced": _counts("interlaced" if record.interlaced else "" for record in files),
        "copies": [str(group) for group in copies(records)],
        "leaks": [str(group) for group in leaks(records)],
        "overlaps": [str(group) for group in overlapping_splits(records)],
        "beyond": [
            f"{record.name}: the video has {record.duration_seconds:.3f} s" for record in beyond_the_end(records)
        ],
        "shared_clips": [str(group) for group in shared_clips(records)],
        "contradictions": [str(group) for group in contradictions(records)],
        "similar_labels": [" / ".join(labels) for labels in similar_labels(records)],
        "labels_without_training": labels_without_training(records),
        "uneven": uneven_classes(records),
    }
    if measured:
        report["decoding"] = _decoding(measured, usable, clips_per_second)
    return report


def _splits(records: Sequence[IndexRow]) -> dict[str, dict[str, Any]]:
    splits: dict[str, dict[str, Any]] = {}
    for split in sorted({record.split for record in records}):
        own = [record for record in records if record.split == split]
        seconds = [length for record in own if record.usable and (length := seconds_of(record)) is not None]
        splits[split] = {
            "videos": len(own),
            "usable": sum(record.usable for record in own),
            "bytes": sum({(record.shard, record.path): record.num_bytes or 0 for record in own}.values()),
            "seconds": float(sum(seconds)),
            "seconds_quantiles": np.quantile(seconds, (0, 0.5, 1)).tolist() if seconds else None,
        }
    return splits


def _classes(records: Sequence[IndexRow]) -> dict[str, dict[str, int]]:
    """Usable videos by class and split."""
    counts = Counter((name, record.split) for record in records if record.usable for name in class_names_of(record))
    splits = sorted({record.split for record in records})
    labels = sorted({name for record in records for name in class_names_of(record)})
    return {label: {split: counts[label, split] for split in splits} for label in labels}


def _inexact(usable: Sequence[IndexRow]) -> list[str]:
    compared = Counter(name for record in usable for name in record.compared_backends)
    exact = Counter(name for record in usable for name in record.exact_backends)
    return [
        f"{name}: {count - exact[name]} of {count} videos" for name, count in compared.items() if exact[name] < count
    ]


def _counts(facts: Iterable[str]) -> list[str]:
    return [f"{fact}: {count} videos" for fact, count in Counter(fact for fact in facts if fact).most_common()]


def trained_of(usable: Sequence[IndexRow]) -> int:
    """Number of clips in an epoch: one of each video of the split train, or of all where there is none."""
    return sum(record.split == "train" for record in usable) or len(usable)


def _decoding(measured: DecodeTime, usable: Sequence[IndexRow], clips_per_second: float | None) -> dict[str, Any]:
    decoding: dict[str, Any] = measured._asdict()
    decoding["epoch_videos"] = trained_of(usable)
    decoding["epoch_seconds"] = measured.epoch_seconds(trained_of(usable))
    if clips_per_second is not None:
        decoding |= {"clips_per_second": clips_per_second, "num_workers": measured.workers_for(clips_per_second)}
    return decoding
