"""``videonl index``: examine every file of a data set once, and write an index."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from videonl.cli.long_work import workers_here
from videonl.cli.refusals import root_of
from videonl.data.indexing.examine import make_index
from videonl.data.indexing.facts import Check
from videonl.data.indexing.findings import contradictions, copies, leaks, overlapping_splits, shared_clips
from videonl.data.indexing.index_file import IndexRow
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.labeled import files_of_sources, read_sources
from videonl.errors import UserError
from videonl.files import write_text
from videonl.outputs import check_file, refuse_within
from videonl.runtime.cluster import joined
from videonl.runtime.parallel import require_limits
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console

_NUM_SHOWN = 10


def index(
    source: str,
    out: Path = Path("index.parquet"),
    root: str | None = None,
    check: Check = "compare",
    num_workers: int | None = None,
    time_limit: float = 60.0,
    strict: bool = False,
    classes: Path | None = None,
    columns: str | None = None,
    path_prefix: str | None = None,
    cluster: str | None = None,
) -> None:
    """Examines every video of a data set and writes an index, a Parquet file that serves as a source.

    Files that have not changed since they were examined for this index, or for another one beside it, are not examined
    again, also after an interruption.

    Args:
        source: Class folders, splits of class folders, or the URL of either (s3://bucket/videos); a list of `path
            label`, or an official list; several separated by commas, such as train.csv,val.csv, which become splits of
            these names.
        out: The index to write.
        root: Folder, or its URL, that paths in a list are relative to, and below which the files of official lists are
            searched.
        check: ``packets`` reads all packets and decodes three frames, ``decode`` decodes every frame, ``compare`` also
            determines which decoders are exact.
        num_workers: Number of processes; by default one for each core.
        time_limit: Seconds for each file; one that takes longer counts as broken.
        strict: Exit with code 1 if a file is broken or missing.
        classes: A file with the names of numeric labels; by default classes.txt beside the list.
        columns: What the columns of a list are called: path=filename,label=class,split=fold,start=from,end=to.
        path_prefix: OLD=NEW: paths in a list that begin with OLD begin with NEW here.
        cluster: A Dask cluster whose workers examine the files: tcp://HOST:PORT of its scheduler, local:N for N workers
            here, or FILE.py, which is run, with a function client() that returns a distributed.Client. All workers must
            see the files by the same paths.
    """
    if out.suffix != ".parquet":
        raise UserError(f"{out}: an index must be named *.parquet. Correct --out.")
    console = Console()
    num_workers = workers_here(num_workers, cluster)
    require_limits(num_workers, time_limit)  # now rather than when a source of thousands of files has been listed
    files = files_of_sources(source)
    check_file(out, files)
    refuse_within(out.parent, files)
    with joined(cluster) as engine:
        entries = _entries(source, root, classes, columns, path_prefix)
        with progress_bar("examining") as progress:
            records = make_index(entries, out, check, num_workers, time_limit, progress, engine)
    for line in _summary(records, out):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if strict and not all(record.usable for record in records):
        raise SystemExit(1)


def _entries(
    source: str, root: str | None, classes: Path | None, columns: str | None, path_prefix: str | None
) -> list[LabeledPath]:
    # Sources are relative to the current folder, unlike those of a training: --root is for what is in them.
    return read_sources(source, root_of(root), classes, columns, path_prefix)


def _summary(records: Sequence[IndexRow], out: Path) -> list[str]:
    counts = Counter(record.status for record in records)
    num_files = len({record.path for record in records})
    segments = f"{len(records)} segments of {num_files} videos" if any(r.segment for r in records) else ""
    lines = [f"{segments or f'{len(records)} videos'}: " + ", ".join(f"{counts[status]} {status}" for status in counts)]
    for status in ("broken", "damaged"):
        lines += _listed(status, [f"{r.name}: {r.reason}" for r in records if r.status == status])
    missing = list(dict.fromkeys(record.path for record in records if record.status == "missing"))
    if missing:
        listed = out.with_name(f"{out.stem}.missing.txt")
        write_text(listed, "".join(f"{path}\n" for path in missing))
        lines += [f"{len(missing)} missing files are listed in {listed}"]
    lines += _listed("exact duplicates", [str(group) for group in copies(records)])
    lines += _listed("exact duplicates in several splits", [str(group) for group in leaks(records)])
    lines += _listed("exact duplicates with different labels", [str(group) for group in contradictions(records)])
    lines += _listed("segments that share frames in several splits", list(map(str, overlapping_splits(records))))
    lines += _listed("clips of one video in several splits", [str(group) for group in shared_clips(records)])
    return [*lines, f"wrote {out}"]


def _listed(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - _NUM_SHOWN} more"] if len(items) > _NUM_SHOWN else []
    return [f"{title}: {len(items)}", *(f"  {item}" for item in items[:_NUM_SHOWN]), *more]
