"""``videonl synth``: write the synthetic data set."""

from pathlib import Path

from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.runtime.progress import progress_bar
from videonl.terminal import Console


def synth(directory: Path, **settings: int) -> None:
    """Writes a data set of small videos whose labels depend on two distant positions in spacetime.

    A cue appears at the left in the first two frames, a probe at the right in the last two, and the label is the sum of
    their shapes. The folders train, val and test serve as --data.train and so on; clues.csv records where the shapes
    are.

    Args:
        directory: Where to write; must be empty or absent.
        **settings: As of :class:`~videonl.data.synthetic.dataset.SyntheticSettings`.
    """
    wanted = SyntheticSettings(**settings)
    with progress_bar("writing") as told:
        written = write_synthetic(directory, wanted, told)
    outcome = f"wrote {wanted.num_clips} clips to" if written else f"these {wanted.num_clips} clips are already in"
    Console().print(f"{outcome} {directory}", soft_wrap=True, markup=False, highlight=False)
