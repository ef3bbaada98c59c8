"""The formats that lists come in: how each is recognized, and who reads it."""

from collections.abc import Callable
from typing import NamedTuple

from videonl.data.sources.activitynet import is_activitynet, read_activitynet
from videonl.data.sources.charades import is_charades, read_charades
from videonl.data.sources.entry import LabeledPath
from videonl.data.sources.epic_kitchens import is_epic_kitchens, read_epic_kitchens
from videonl.data.sources.kinetics import is_kinetics, read_kinetics
from videonl.data.sources.label_studio import is_label_studio, read_label_studio
from videonl.data.sources.list_file import ListFile
from videonl.data.sources.official import is_something, is_ucf101, read_something, read_ucf101
from videonl.data.sources.plain import is_plain, read_plain
from videonl.data.sources.table import is_table, read_table
from videonl.errors import UserError


class Format(NamedTuple):
    """A format.

    Attributes:
        name: What it is called.
        fits: Whether a list has it.
        read: Its rows.
        columns: What ``--data.columns`` may choose in it; a list with other choices is one's own.
        searches: Whether it searches its files below the root, and says itself that there are none.
        is_own: Whether anybody may write it, and paths may have another prefix.
        is_named: Whether ``classes.txt`` names its numbers.
        has_header: Whether its first line names the columns.
    """

    name: str
    fits: Callable[[ListFile], bool]
    read: Callable[[ListFile], list[LabeledPath]]
    columns: frozenset[str] = frozenset()
    searches: bool = True
    is_own: bool = False
    is_named: bool = False
    has_header: bool = False


FORMATS = (
    Format("Something-Something V2", is_something, read_something, searches=False),
    Format("ActivityNet", is_activitynet, read_activitynet),
    Format("Label Studio", is_label_studio, read_label_studio, frozenset(("label",))),
    Format("UCF101", is_ucf101, read_ucf101, searches=False),
    Format("Kinetics", is_kinetics, read_kinetics, is_named=True, has_header=True),
    Format("Charades", is_charades, read_charades, frozenset(("segments",)), has_header=True),
    Format("EPIC-Kitchens", is_epic_kitchens, read_epic_kitchens, frozenset(("label",)), has_header=True),
)
"""The official ones, and exports of tools; the first that fits is taken."""
_TABLE = Format("list with a header", is_table, read_table, searches=False, is_own=True, is_named=True, has_header=True)
_PLAIN = Format("list", is_plain, read_plain, searches=False, is_own=True, is_named=True)


def format_of(file: ListFile) -> Format:
    """The format of a list.

    Raises:
        UserError: It is JSON of a form that is not known, or an option does not apply to it.
    """
    fitting = next((form for form in FORMATS if form.fits(file)), None)
    others = set(file.reading.columns) - fitting.columns if fitting else set()
    if fitting is None or (others and not file.is_json):
        if file.is_json:
            raise UserError(
                f"{file.path}: is JSON of another form than the lists of Something-Something V2, ActivityNet and Label "
                "Studio. Write a list with one 'path label' per line."
            )
        return _TABLE if is_table(file) else _PLAIN
    for given, option in ((others, "--data.columns"), (file.reading.path_prefix, "--data.path-prefix")):
        if given:
            raise UserError(
                f"{file.path}: is a list of {fitting.name}, to which {option} does not apply. Remove the option."
            )
    return fitting
