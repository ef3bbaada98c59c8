"""``videonl split``: a list with a column ``split``, in which no group of videos is in two splits."""

import math
from collections.abc import Sequence
from pathlib import Path

from videonl.cli.parsing import Parser
from videonl.cli.refusals import root_of
from videonl.data.sources.labeled import files_of_sources
from videonl.data.sources.several import labels_of, looks_like_several
from videonl.data.splitting.groups import groups_of
from videonl.data.splitting.rows import SourceRow, SourceRows, keepable, read_rows
from videonl.data.splitting.shares import split_groups
from videonl.data.splitting.summary import told
from videonl.data.splitting.written import as_written, time_columns, write_list
from videonl.errors import UserError, require_within
from videonl.outputs import check_file, refuse_within
from videonl.terminal import Console

DESCRIPTION = """Divides the videos of a source into splits and writes a CSV list with a column split. Groups stay
whole, every class gets its share in every split, and the same source and seed give the same splits."""
_NAMES = {2: "train,val", 3: "train,val,test"}


def parse(arguments: list[str]) -> None:
    """Runs a command line."""
    parser = Parser(prog="videonl split", description=DESCRIPTION)
    parser.add_argument("source", type=str, help="Class folders, a list, an index, or several with commas between.")
    parser.add_argument("--out", type=Path, required=True, help="The list to write, a file *.csv.")
    parser.add_argument(
        "--by",
        type=str,
        required=True,
        help="What stays together: a column of the list, such as person; folder, that of the file; prefix, the file's "
        "name up to its last _; or clip_id, the video that the clip was cut from, where the source has it.",
    )
    parser.add_argument("--shares", type=str, required=True, help="The share of each split, such as 0.7,0.15,0.15.")
    parser.add_function_arguments(split, skip={"source", "out", "by", "shares"})
    words = parser.parse_args(arguments).as_dict()
    split(**words)


def split(
    source: str,
    out: Path,
    by: str,
    shares: str,
    names: str | None = None,
    seed: int = 0,
    root: str | None = None,
    again: bool = False,
    group_pattern: str | None = None,
    columns: str | None = None,
    path_prefix: str | None = None,
) -> None:
    r"""Divides the videos of a source into splits.

    Args:
        source: Class folders, a list or an index.
        out: The list to write.
        by: What the groups are.
        shares: The share of each split.
        names: The names of the splits; by default train,val or train,val,test.
        seed: Another seed gives another split.
        root: Folder that paths in the source are relative to; those in the list that is written are, too.
        again: Divide a source that has splits, regardless of these.
        group_pattern: A regular expression that finds the group in what --by names, in its parentheses or as a whole:
            --by prefix --group-pattern '_(g\d+)_' for v_Archery_g01_c02.avi.
        columns: What the columns of a list are called: path=filename,label=class,group=person.
        path_prefix: OLD=NEW: paths in a list that begin with OLD begin with NEW here.
    """
    require_within(0, 2**32 - 1, seed=seed)
    wanted = _shares(shares)
    split_names = _split_names(names, len(wanted))
    if out.suffix != ".csv":
        raise UserError(f"{out}: the list must be named *.csv. Correct --out.")
    files = files_of_sources(source)
    check_file(out, files)
    refuse_within(out.parent, files)
    base = root_of(root)
    read = read_rows(source, base, columns, path_prefix, by)
    _check(read.rows, again)
    groups = groups_of(read.rows, by, group_pattern)
    labels = [_labels(row) for row in read.rows]
    numbers = split_groups(groups, labels, wanted, seed)
    entries = [
        row.entry._replace(split=split_names[numbers[group]]) for row, group in zip(read.rows, groups, strict=True)
    ]
    others, left_out = _others(read, groups, by if group_pattern is None else "")
    write_list(out, entries, others, base)
    console = Console()
    lines = [*told(groups, labels, numbers, wanted, split_names), *_told(left_out), f"wrote {out}"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _shares(text: str) -> list[float]:
    try:
        shares = [float(word) for word in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) < 2 or not all(0 < share < 1 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise UserError(f"--shares {text}: must be two numbers or more, above 0, whose sum is 1, such as 0.7,0.15,0.15")
    return shares


def _split_names(text: str | None, number: int) -> list[str]:
    if text is None and number not in _NAMES:
        raise UserError(f"--shares names {number} splits. Name them: --names a,b,...")
    names = [word.strip() for word in (text or _NAMES[number]).split(",")]
    if len(names) != number or len(set(names)) != number or not all(names):
        raise UserError(f"--names {text}: must be {number} different names, as many as --shares has numbers")
    return names


def _check(rows: Sequence[SourceRow], again: bool) -> None:
    for entry in (row.entry for row in rows):
        if entry.label is None:
            raise UserError(
                f"{entry.origin}: has no label, so no classes can be divided. Give it one, or leave it out."
            )
        if entry.split and not again:
            raise UserError(
                f"{entry.origin}: is in split {entry.split} already. Train with '#{entry.split}', or divide all videos "
                "anew: --again"
            )


def _labels(row: SourceRow) -> tuple[str, ...]:
    label = as_written(row.entry.label or "")
    return labels_of(label) if looks_like_several(label) else (label,)


def _others(read: SourceRows, groups: Sequence[str], by: str) -> tuple[list[tuple[str, Sequence[str]]], list[str]]:
    """The other columns of the list, with one of groups; and the names of those that are left out."""
    ours = ["path", "label", "split", *time_columns([row.entry for row in read.rows])]
    names = [name for name in dict.fromkeys(name for row in read.rows for name in row.columns) if name]
    asked = [name for name in names if name not in read.understood]
    kept = keepable(asked, ours)
    columns: list[tuple[str, Sequence[str]]] = [
        (name, [row.columns.get(name, "") for row in read.rows]) for name in kept
    ]
    taken = {name.lower() for name in kept}
    if by.lower() not in taken and "group" not in taken:
        columns.append(("group", groups))
    return columns, [name for name in asked if name not in kept and name.lower() not in ours]


def _told(left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    return [f"left out columns {', '.join(left_out)}: in the new list they would be taken for labels or times"]
