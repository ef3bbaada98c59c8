"""Keeps what is prepared apart from the videos that it is made of."""

from collections.abc import Sequence
from pathlib import Path

from videonl.data.indexing.index_file import IndexRow
from videonl.data.reading.segment import VideoPart, whole_of
from videonl.data.reading.url_path import Where, absolute
from videonl.data.sources.folders import are_splits
from videonl.errors import UserError


def refuse_mixing(output: Where, sources: Sequence[Where | VideoPart], records: Sequence[IndexRow]) -> None:
    """Refuses a folder to write among the videos that are read, or above them, here or at a URL.

    Raises:
        UserError: It lies there, where the next reading would take it for a class, or its files for videos.
    """
    places = {
        (file.parent, row.label, row.split): file
        for source, row in zip(sources, records, strict=True)
        if isinstance(file := absolute(whole_of(source)), Path) == isinstance(output, Path)
    }
    folder = _real(output)
    for (parent, label, split), source in places.items():
        real = _real(parent)
        if _is_in(folder, _data_set_of(real, label, split, folder)) or _is_in(real, folder):
            raise UserError(f"{output}: would mix with the source videos ({source}). Name a folder beside them.")


def _data_set_of(parent: Where, label: str, split: str, output: Where) -> Where:
    """The folder of class folders, or of splits of them, where one more folder would be taken for another."""
    classes = [folder for folder in (parent, parent.parent) if folder.name == label]
    if not classes:
        return parent
    kept = classes[0].parent
    is_of_splits = kept.name == split or (
        isinstance(kept, Path) and isinstance(output, Path) and are_splits(kept.parent, output)
    )
    return kept.parent if is_of_splits else kept


def _real(place: Where) -> Where:
    return place.resolve() if isinstance(place, Path) else place


def _is_in(place: Where, folder: Where) -> bool:
    return place.parts[: len(folder.parts)] == folder.parts
