"""``videonl synth``: write the synthetic data set."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from videonl.data.synthetic.dataset import write_synthetic
from videonl.terminal import Console


def synth(
    directory: Path,
    num_classes: int = 2,
    num_train: int = 1280,
    num_val: int = 160,
    num_test: int = 320,
    size_px: int = 64,
    num_frames: int = 8,
    seed: int = 0,
) -> None:
    """Writes a data set of small videos whose labels depend on two distant positions in spacetime.

    A cue appears at the left in the first two frames, a probe at the right in the last two, and the label is the sum of
    their shapes. The folders train, val and test serve as --data.train and so on; clues.csv records where the shapes
    are.

    Args:
        directory: Where to write; must be empty or absent.
        num_classes: Number of classes, and of shapes, from 2 to 6.
        num_train: Number of training clips.
        num_val: Number of validation clips.
        num_test: Number of test clips.
        size_px: Height and width of the frames: even, at least 32.
        num_frames: Number of frames in each clip, at least 4.
        seed: Random seed.
    """
    console = Console()
    bar = Progress(TextColumn("writing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
    with bar:
        task = bar.add_task("writing", total=None)
        written = write_synthetic(
            directory,
            num_classes=num_classes,
            num_train=num_train,
            num_val=num_val,
            num_test=num_test,
            size_px=size_px,
            num_frames=num_frames,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        bar.update(task, visible=written)
    num_clips = num_train + num_val + num_test
    outcome = f"wrote {num_clips} clips to" if written else f"these {num_clips} clips are already in"
    console.print(f"{outcome} {directory}", soft_wrap=True, markup=False, highlight=False)
