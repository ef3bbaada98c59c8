"""Progress that leaves stdout to the results."""

from contextlib import AbstractContextManager

from videonl.terminal import Console


def status(text: str) -> AbstractContextManager[object]:
    """A spinner on stderr while something is done; nothing where stderr is no terminal."""
    return Console(stderr=True).status(text)
