"""The clip that is shown, and where it lies in its video."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ShownClip:
    """A clip as the network sees it, before normalization.

    Attributes:
        name: of the video, for people.
        frames: (T, H, W, 3) uint8.
        video_frames: for each frame its index in the video.
        seconds: for each frame its time in the video.
        crop: (top, left, height, width) of what is seen, in pixels of the video's own frames.
    """

    name: str
    frames: Tensor
    video_frames: tuple[int, ...]
    seconds: tuple[float, ...]
    crop: tuple[float, float, float, float]

    @property
    def size(self) -> tuple[int, int, int]:
        """(T, H, W) in frames and pixels."""
        num_frames, height, width, _ = self.frames.shape
        return num_frames, height, width
