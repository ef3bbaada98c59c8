"""Features of the windows of a video: what a layer of the network puts out, for models of one's own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from videonl.data.reading.decoding import VideoReader
from videonl.data.sampling import clip_span
from videonl.data.transforms import MOST_STRIDE, ClipFormat
from videonl.errors import MOST_FRAMES, UserError, require_within
from videonl.inference.layer import POOL, Layer, Pool
from videonl.inference.recognizer import Recognizer
from videonl.inference.sliding import default_batch_size, passed
from videonl.inference.windows import Last, Window, Windows, require_dense
from videonl.profiling import require_clip

CROPS = (1, 3, 10)
TIMES = ("start_seconds", "center_seconds", "end_seconds", "first_frame", "last_frame")


@dataclass(frozen=True)
class FeatureOptions:
    """Which features are asked for.

    Args:
        window_frames: Frames of a window, as far apart as those of the network's clips; as many as these by default.
        stride_frames: From the start of a window to the next, in frames of the video; by default windows adjoin.
        layer: ``pool``, which is what the linear head sees; or a stage (``res4``), a residual (``res4.3``) or a module
            path, whose output is taken.
        pool: ``mean`` averages over time and space, ``none`` keeps them.
        last: ``repeat`` completes the last window by repeating the video's last frame, ``drop`` leaves it out.
        centered: One window about every ``stride_frames``-th frame, in which the video's edges are repeated.
        crops: 1 is the center, 3 are spaced evenly along the longer side, 10 are corners and center and their mirror
            images.

    Raises:
        UserError: An option has no such value.
    """

    window_frames: int | None = None
    stride_frames: int | None = None
    layer: str = POOL
    pool: Pool = "mean"
    last: Last = "repeat"
    centered: bool = False
    crops: int = 1

    def __post_init__(self) -> None:
        require_within(1, MOST_FRAMES, window_frames=self.window_frames)
        require_within(1, MOST_STRIDE, stride_frames=self.stride_frames)
        choices = {"pool": get_args(Pool), "last": get_args(Last), "crops": CROPS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                listed = ", ".join(map(str, allowed))
                raise UserError(f"{name} must be one of {listed}, got {getattr(self, name)!r}")

    def resolved(self, clip: ClipFormat) -> "FeatureOptions":
        """With the numbers that a network's clip format gives where none were asked for.

        Raises:
            UserError: The network's sampling has no windows, or its stride is in seconds.
        """
        require_dense(clip)
        num_frames = self.window_frames or clip.num_frames
        stride_frames = self.stride_frames
        if stride_frames is None and clip.stride_seconds is not None:
            raise UserError(
                "the network's clips are measured in seconds; name the frames between windows: stride_frames"
            )
        return replace(
            self,
            window_frames=num_frames,
            stride_frames=stride_frames or clip_span(num_frames, clip.stride_frames),
        )

    def windows(self, reader: VideoReader, clip: ClipFormat) -> Windows:
        """The windows of a video.

        Raises:
            UserError: As :meth:`resolved`; or the video is shorter than a window, which is not to be completed.
        """
        whole = self.resolved(clip)
        assert whole.window_frames is not None and whole.stride_frames is not None
        clip = replace(clip, num_frames=whole.window_frames)
        crops = {"ten_crops": True} if self.crops == 10 else {"num_crops": self.crops}
        if self.centered:
            return Windows.centered(reader, clip, whole.stride_frames, **crops)
        return Windows.every_frames(reader, clip, whole.stride_frames, self.last, **crops)


@dataclass(frozen=True)
class Features:
    """Features of the windows of a video.

    Attributes:
        values: float32 (windows, D), with more than one crop (windows, crops, D); where they are not pooled, (C, T, H,
            W) stands in place of D.
        start_seconds: When each window's first frame appears, float64 (windows,).
        center_seconds: The middle of each window; of centered ones, when the frame that it is about appears.
        end_seconds: When each window's last frame makes way.
        first_frame: Each window's first frame, int64 (windows,).
        last_frame: Each window's last frame.
    """

    values: npt.NDArray[np.float32]
    start_seconds: npt.NDArray[np.float64]
    center_seconds: npt.NDArray[np.float64]
    end_seconds: npt.NDArray[np.float64]
    first_frame: npt.NDArray[np.int64]
    last_frame: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Features(values of shape {self.values.shape}, 0 to {self.end_seconds[-1]:.2f} s)"


def features_of(
    recognizer: Recognizer,
    reader: VideoReader,
    options: FeatureOptions = FeatureOptions(),
    batch_size: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    layer: Layer | None = None,
) -> Features:
    """Features of the windows of an open video, which is decoded once.

    Args:
        recognizer: The network.
        reader: The video.
        options: Which windows, and which features of them.
        batch_size: Windows in one forward pass; by default one on a CPU.
        progress: Is told the number of windows done, and of all.
        layer: The layer that is asked for, where it is at hand: to find it takes as long as a few windows.

    Raises:
        UserError: There is no such layer, or no window fits the video.
        FewerFramesError: The video turned out to be damaged; ask again (``with_recount``).
        DecodingError: A frame cannot be decoded.
    """
    windows = options.windows(reader, recognizer.clip)
    layer = layer or layer_for(recognizer, options)
    values: npt.NDArray[np.float32] | None = None
    seen: list[Window] = []
    size = batch_size or default_batch_size(recognizer, windows)
    for window, rows in passed(windows, layer, size):
        row = (rows[0] if options.crops == 1 else rows).cpu().numpy()
        values = np.empty((len(windows), *row.shape), np.float32) if values is None else values
        values[window.number] = row
        seen.append(window)
        progress(len(seen), len(windows))
    assert values is not None  # there is a window of every video
    return Features(
        values,
        *(np.array([getattr(window, name) for window in seen]) for name in TIMES),
    )


def layer_for(recognizer: Recognizer, options: FeatureOptions) -> Layer:
    """The layer that is asked for.

    Raises:
        UserError: There is none, or the network does not take clips of so few frames.
    """
    num_frames = options.resolved(recognizer.clip).window_frames or 0
    side_px = recognizer.clip.crop_px
    require_clip(recognizer.network, (num_frames, side_px, side_px))
    return Layer(recognizer, options.layer, options.pool)
