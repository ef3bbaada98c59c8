"""A synthetic data set whose labels depend on two distant positions in spacetime.

A cue, one of K shapes, appears in the first two frames in the left third; a probe, one of the same shapes, in the last
two in the right third. The label is ``(cue + probe) mod K``. All pairs occur equally often, so neither the cue nor the
probe alone says anything about the label, and no network whose view spans only one of them can beat chance.

With several pairs of cue and probe, each of two shapes of its own, a clip has any number of labels: one for each pair
whose cue and probe are the same shape. The pairs are independent of one another.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from videonl.data.synthetic.frames import NUM_SHOWN_FRAMES, SHAPES, Mark, draw_clip, draw_pairs
from videonl.errors import UserError, require_within
from videonl.files import LOCK, locked, write_text
from videonl.outputs import check_folder

_FPS = 8
_MOST_PIXELS, _MOST_FRAMES, _MOST_CLIPS = 2048, 1000, 10**6
_MOST_SEED = 2**63 - 1
# Now and then x264's assembly encodes the same small frames to other bytes; its C code never did in thousands of runs.
# One thread, because with more the frames are divided up as the machine allows.
_X264_OPTIONS = {"crf": "14", "preset": "veryfast", "threads": "1", "x264-params": "asm=0"}
_FORMAT_VERSION = 1
_SETTINGS_FILE = "synthetic.json"
_UNFINISHED_FILE = "synthetic.json.part"
CLUES_FILE = "clues.csv"
LABELS_FILE = "labels.csv"


@dataclass(frozen=True)
class SyntheticSettings:
    """The settings that determine the data set.

    Args:
        num_classes: Number of classes, and of shapes, from 2 to 6. With several pairs each pair is a class.
        num_train: Number of training clips.
        num_val: Number of validation clips.
        num_test: Number of test clips.
        size_px: Height and width of the frames: even, at least 32.
        num_frames: Number of frames in each clip, at least 4.
        seed: Seed of everything random.
        num_pairs: Pairs of cue and probe in a clip, from 1 to 3; from 2 on a clip has any number of labels.

    Raises:
        UserError: A value is out of range.
    """

    num_classes: int = 2
    num_train: int = 1280
    num_val: int = 160
    num_test: int = 320
    size_px: int = 64
    num_frames: int = 8
    seed: int = 0
    num_pairs: int = 1

    def __post_init__(self) -> None:
        rules = {
            "num_classes": (2 <= self.num_classes <= len(SHAPES), f"from 2 to {len(SHAPES)}"),
            "size_px": (self.size_px % 2 == 0, "even"),
            "num_pairs": (1 <= self.num_pairs <= len(SHAPES) // 2, f"from 1 to {len(SHAPES) // 2}"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise UserError(f"{name} must be {rule}, got {getattr(self, name)}")
        require_within(32, _MOST_PIXELS, size_px=self.size_px)
        require_within(2 * NUM_SHOWN_FRAMES, _MOST_FRAMES, num_frames=self.num_frames)
        require_within(0, _MOST_SEED, seed=self.seed)
        require_within(0, _MOST_CLIPS, num_train=self.num_train, num_val=self.num_val, num_test=self.num_test)

    @property
    def num_clips(self) -> int:
        """Clips of all three splits."""
        return self.num_train + self.num_val + self.num_test


class Clue(NamedTuple):
    """The places of cue and probe in a clip: one row of ``clues.csv``; ``path`` is relative to the data set."""

    path: str
    split: str
    label: str
    cue: Mark
    probe: Mark


def write_synthetic(
    directory: Path,
    settings: SyntheticSettings = SyntheticSettings(),
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Write the data set as H.264 files ``DIR/{train,val,test}/sum_K/clip_00012.mp4``.

    With several pairs the files are ``DIR/{train,val,test}/clip_00012.mp4``, and ``DIR/labels.csv`` lists them.

    The places of cue and probe are written to ``DIR/clues.csv``, and the settings to ``DIR/synthetic.json``. The files
    depend only on the settings, byte for byte with the same versions of PyAV and numpy. The counts of the pairs of cue
    and probe in a split differ by one at most, and are equal if its number of clips is a multiple of
    ``num_classes ** 2``.

    Args:
        directory: Where to write; must be empty or absent, or hold the same data set.
        settings: What to write.
        progress: Called with the number of clips written and the number of all, after each.

    Returns:
        True if the files were written, False if this very data set was already there.

    Raises:
        UserError: The directory holds something else, or cannot be written.
    """
    if _is_there(directory, settings):
        return False
    check_folder(directory)
    try:
        with locked(directory / LOCK, f"{directory} is being written"):
            _write_all(directory, settings, progress or (lambda done, total: None))
    except (OSError, av.FFmpegError) as error:
        raise UserError(
            f"{directory}: cannot be written ({error}). Delete what is there and name another folder."
        ) from error
    return True


def synthetic_clips(settings: SyntheticSettings) -> Iterator[tuple[Clue, NDArray[np.uint8]]]:
    """Draw every clip of the data set: its clue, and its frames as RGB ``(T, H, W, 3)``."""
    num_classes = settings.num_classes
    for split_index, split in enumerate(("train", "val", "test")):
        pairs = np.arange(getattr(settings, f"num_{split}")) % num_classes**2
        np.random.default_rng((settings.seed, split_index)).shuffle(pairs)
        for index, pair in enumerate(pairs.tolist()):
            cue, probe = divmod(pair, num_classes)
            label = f"sum_{(cue + probe) % num_classes}"
            random = np.random.default_rng((settings.seed, split_index, index))
            frames, cue_mark, probe_mark = draw_clip(cue, probe, settings.num_frames, settings.size_px, random)
            yield Clue(f"{split}/{label}/clip_{index:05d}.mp4", split, label, cue_mark, probe_mark), frames


def clips_of_pairs(settings: SyntheticSettings) -> Iterator[tuple[str, str, list[str], NDArray[np.uint8]]]:
    """Draw every clip with several pairs: its path, its split, its labels, and its frames as RGB ``(T, H, W, 3)``."""
    names = pair_names(settings.num_pairs)
    for split_index, split in enumerate(("train", "val", "test")):
        combinations = np.arange(getattr(settings, f"num_{split}")) % 4**settings.num_pairs
        np.random.default_rng((settings.seed, split_index)).shuffle(combinations)
        for index, combination in enumerate(combinations.tolist()):
            digits = [combination // 4**place % 4 for place in range(settings.num_pairs)]
            pairs = [(2 * place + digit // 2, 2 * place + digit % 2) for place, digit in enumerate(digits)]
            random = np.random.default_rng((settings.seed, split_index, index))
            labels = [name for name, (cue, probe) in zip(names, pairs, strict=True) if cue == probe]
            frames = draw_pairs(pairs, settings.num_frames, settings.size_px, random)
            yield f"{split}/clip_{index:05d}.mp4", split, labels, frames


def pair_names(num_pairs: int) -> list[str]:
    """What the classes are called: ``same_bar_pole`` is a clip whose cue and probe are both bars, or both poles."""
    return [f"same_{'_'.join(SHAPES[2 * place : 2 * place + 2])}" for place in range(num_pairs)]


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """Encode RGB frames ``(T, H, W, 3)``, even H and W, as H.264 in MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options=_X264_OPTIONS)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _write_all(directory: Path, settings: SyntheticSettings, progress: Callable[[int, int], None]) -> None:
    described = json.dumps(_described(settings), indent=2) + "\n"
    write_text(directory / _UNFINISHED_FILE, described)
    if settings.num_pairs > 1:
        _write_pairs(directory, settings, progress)
    else:
        clues = []
        for clue, frames in synthetic_clips(settings):
            write_video(directory / clue.path, frames)
            clues.append(clue)
            progress(len(clues), settings.num_clips)
        _write_clues(directory / CLUES_FILE, clues)
    write_text(directory / _SETTINGS_FILE, described)  # last: its presence says that the data set is complete
    (directory / _UNFINISHED_FILE).unlink()


def _write_pairs(directory: Path, settings: SyntheticSettings, progress: Callable[[int, int], None]) -> None:
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "labels", "split"])
    for number, (path, split, labels, frames) in enumerate(clips_of_pairs(settings), start=1):
        write_video(directory / path, frames)
        rows.writerow([path, json.dumps(labels), split])
        progress(number, settings.num_clips)
    write_text(directory / LABELS_FILE, text.getvalue())


def _described(settings: SyntheticSettings) -> dict[str, Any]:
    if settings.num_pairs > 1:
        rule = "a label for each pair whose cue and probe are the same shape"
        return {"format": _FORMAT_VERSION, **asdict(settings), "classes": pair_names(settings.num_pairs), "rule": rule}
    rule = f"label = (cue + probe) mod {settings.num_classes}"
    shapes = list(SHAPES[: settings.num_classes])
    wanted = {name: value for name, value in asdict(settings).items() if name != "num_pairs"}
    return {"format": _FORMAT_VERSION, **wanted, "shapes": shapes, "rule": rule}


def _is_there(directory: Path, settings: SyntheticSettings) -> bool:
    """Whether this very data set is complete; one that was interrupted is written again in its place."""
    if not directory.exists():
        return False
    if not directory.is_dir():
        raise UserError(f"{directory}: is a file. Name a new or empty folder.")
    for name in (_SETTINGS_FILE, _UNFINISHED_FILE):
        if (directory / name).exists():
            if _read_json(directory / name) != _described(settings):
                raise UserError(f"{directory}: holds a data set with other settings ({name}). Choose another folder.")
            return name == _SETTINGS_FILE
    if any(path.name != LOCK for path in directory.iterdir()):
        raise UserError(f"{directory}: is not empty, and not a data set of videonl synth. Choose another folder.")
    return False


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _write_clues(path: Path, clues: list[Clue]) -> None:
    columns = [f"{which}_{field}" for which in ("cue", "probe") for field in Mark._fields[1:]]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "split", "label", "cue", "probe", *columns])
    for clue in clues:
        shapes = [SHAPES[clue.cue.shape], SHAPES[clue.probe.shape]]
        writer.writerow([clue.path, clue.split, clue.label, *shapes, *clue.cue[1:], *clue.probe[1:]])
    write_text(path, text.getvalue())
