"""``videonl doctor``: a report on an index, for people."""

import json as json_text
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from videonl.cli.cost import cost_lines, cost_of, duration
from videonl.cli.refusals import require_at_least
from videonl.data.indexing.decode_time import measure_decoding
from videonl.data.indexing.index_file import file_of, read_index
from videonl.data.indexing.index_report import report_of, trained_of
from videonl.data.preparing.cost import measure_preparing
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.files import write_text
from videonl.outputs import check_file
from videonl.runtime.progress import progress_bar
from videonl.temporary import temporary_folder
from videonl.terminal import Console

MOST_RATE = 10**6
_NUM_SHOWN = 10
_NUM_PREPARED = 8  # each takes seconds
_PROBLEMS = {
    "broken": "broken or missing, left out of training",
    "damaged": "damaged: the decoder conceals errors",
    "inexact": "decoders that differ from sequential decoding, in frames or their number",
    "non_square": "pixel aspect ratios other than 1:1; frames are read as stored",
    "interlaced": "interlaced; the two fields are read as one frame",
    "copies": "copies: exact duplicates",
    "leaks": "leakage: exact duplicates in several splits",
    "overlaps": "leakage: segments that share frames in several splits",
    "shared_clips": "leakage: clips of one video in several splits",
    "beyond": "segments that end after their video",
    "contradictions": "exact duplicates with different labels",
    "similar_labels": "labels that differ only in capitals, spaces or hyphens",
    "labels_without_training": "labels without a usable training video",
    "uneven": "uneven classes",
}
_BETWEEN_SPLITS = ("leaks", "overlaps", "shared_clips", "labels_without_training")


def doctor(
    index: str,
    clips_per_second: float | None = None,
    num_frames: int = 8,
    stride_frames: int = 8,
    num_sampled: int = 40,
    json: bool = False,
    out: Path | None = None,
    cost: bool = False,
) -> None:
    """Reports on an index: counts, durations, broken files, leakage, labels, and decoding time.

    It writes nothing but ``--out``. Its findings do not change the exit code.

    Args:
        index: What ``videonl index`` wrote: a file, a folder with ``index.parquet``, or the URL of either.
        clips_per_second: Clips that the training consumes per second; adds the number of workers that decode as many.
        num_frames: Frames per clip, for the decoding time.
        stride_frames: Distance of the frames of a clip.
        num_sampled: Number of videos to decode for it; 0 skips the measurement.
        json: Print one JSON object instead of tables.
        out: Also write the JSON object to this file.
        cost: Also estimate what `videonl prepare` needs, with its defaults: core-hours, bytes read and written. Up to 8
            of the sampled videos are prepared for it, into a temporary folder.
    """
    ClipFormat(num_frames=num_frames, stride_frames=stride_frames)  # raises for a clip that there is not
    require_at_least(int(cost), num_sampled=num_sampled)
    if clips_per_second is not None and not 0 < clips_per_second <= MOST_RATE:
        raise UserError(f"--clips_per_second must be above 0 and at most {MOST_RATE:,}, got {clips_per_second}")
    if out:
        check_file(out, [Path(file_of(index))])
    records = read_index(index)
    usable = [record for record in records if record.usable]
    with progress_bar("decoding") as progress:
        measured = measure_decoding(usable, index, num_frames, stride_frames, num_sampled, progress=progress)
    report = report_of(records, measured, clips_per_second)
    if cost and usable:
        clip = (num_frames, stride_frames)
        num_prepared = min(num_sampled, _NUM_PREPARED)
        with progress_bar("preparing some") as progress, temporary_folder() as folder:
            needed = measure_preparing(usable, index, folder, clip, num_prepared, progress=progress)
        report["cost"] = None if needed is None else cost_of(needed, trained_of(usable), clips_per_second)
    if out:
        write_text(out, json_text.dumps(report, indent=2) + "\n")
    if json:
        print(json_text.dumps(report))
    else:
        _show(report, Console())


def _show(report: Mapping[str, Any], console: Console) -> None:
    console.print(_splits_table(report))
    console.print(_classes_table(report))
    lines = [", ".join(f"{count} {codec}" for codec, count in report["codecs"].items())]
    for name, title in _PROBLEMS.items():
        found = report[name]
        nothing = _nothing(name, report)
        lines += [f"{title}: {len(found) or nothing}", *(f"  {item}" for item in found[:_NUM_SHOWN])]
        lines += [f"  and {len(found) - _NUM_SHOWN} more; all with --json"] if len(found) > _NUM_SHOWN else []
        if name == "broken":
            lines += [f"  {count} x {reason}" for reason, count in report["reasons"].items()]
    lines += _decoding_lines(report.get("decoding"))
    lines += cost_lines(report)
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _nothing(name: str, report: Mapping[str, Any]) -> str:
    """The text for no findings, which differs if there was no check."""
    if name == "inexact" and not report["num_compared"]:
        return "not compared"
    splits = [split or "none" for split in report["splits"]]
    if name in _BETWEEN_SPLITS and len(splits) < 2:
        return f"unknown, all videos are in one split ({', '.join(splits)}); index train.csv,val.csv together"
    return "none"


def _splits_table(report: Mapping[str, Any]) -> Table:
    table = Table("split", title=_counted(report))
    for name in ("videos", "usable", "MB", "hours", "seconds each: minimum, median, maximum"):
        table.add_column(name, justify="right")
    for split, facts in report["splits"].items():
        spread = facts["seconds_quantiles"]
        seconds = ", ".join(f"{value:.1f}" for value in spread) if spread else "-"
        sizes = f"{facts['bytes'] / 1e6:.1f}", f"{facts['seconds'] / 3600:.2f}"
        table.add_row(split or "none", str(facts["videos"]), str(facts["usable"]), *sizes, seconds)
    return table


def _counted(report: Mapping[str, Any]) -> str:
    if not report["num_segments"]:
        return f"{report['num_videos']} videos"
    whole = report["num_videos"] - report["num_segments"]
    besides = f" and {whole} whole videos" if whole else ""
    return f"{report['num_segments']} segments{besides} of {report['num_files']} files"


def _classes_table(report: Mapping[str, Any]) -> Table:
    """Usable videos of each class; of many classes, the smallest."""
    splits = list(report["splits"])
    rows = sorted(report["classes"].items(), key=lambda item: sum(item[1].values()))
    shown = rows[: 2 * _NUM_SHOWN]
    title = "usable videos per class"
    table = Table("class", title=title if shown == rows else f"{title}: the smallest of {len(rows)} classes")
    for split in splits:
        table.add_column(split or "none", justify="right")
    for label, counts in shown:
        table.add_row(label or "no label", *(str(counts[split]) for split in splits))
    return table


def _decoding_lines(decoding: Mapping[str, Any] | None) -> list[str]:
    if decoding is None:
        return []
    mean, low, high = (1000 * decoding[f"{name}_seconds"] for name in ("mean", "low", "high"))
    epoch = decoding["epoch_seconds"]
    lines = [
        f"decoding a clip takes {mean:.0f} ms on one core ({low:.0f} to {high:.0f} with 95 % confidence, "
        f"{decoding['num_videos']} videos): {1000 / mean:.0f} clips/s per worker",
        f"decoding an epoch of {decoding['epoch_videos']} clips: {duration(epoch[0])} on one core "
        f"({duration(epoch[1])} to {duration(epoch[2])})",
    ]
    if "num_workers" in decoding:
        asked, num_workers = decoding["clips_per_second"], decoding["num_workers"]
        lines += [f"for {asked:g} clips/s: --data.loading.num_workers {num_workers}, one core each"]
    return lines
