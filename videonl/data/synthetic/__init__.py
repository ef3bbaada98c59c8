"""The synthetic data set: clips whose label depends on two distant positions in spacetime."""

from pathlib import Path

from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic

__all__ = ["SyntheticSettings", "synth", "write_synthetic"]


def synth(directory: str | Path, **settings: int) -> Path:
    """Writes the synthetic data set, unless it is there already.

    Args:
        directory: Where to write; empty or absent, or holds the same data set.
        **settings: As of :class:`SyntheticSettings`: ``num_classes``, ``num_train``, ``size_px``, ``seed``, ...

    Returns:
        The folder, whose folders ``train``, ``val`` and ``test`` hold class folders.

    Raises:
        UserError: A setting is out of range, or the folder holds something else.
    """
    write_synthetic(Path(directory), SyntheticSettings(**settings))
    return Path(directory)
