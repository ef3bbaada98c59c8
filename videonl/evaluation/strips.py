"""A few frames of a video in a row, small enough to travel inside a page."""

import io

import torch
from PIL import Image

from videonl.data.reading.decoding import DecodingError, open_video

HEIGHT_PX = 96
_MOST_ASPECT = 16 / 9  # a wider frame is cut, so that a panorama does not make a ribbon
_GAP_PX = 3


def film_strip(path: str) -> bytes | None:
    """Frames from the beginning, the middle and the end of a video.

    Args:
        path: The video file.

    Returns:
        A JPEG, or ``None`` where the video cannot be read: a record may be looked at far from its videos.
    """
    from torchvision.transforms.v2 import functional as vision  # here: it takes seconds

    try:
        with open_video(path) as reader:
            last = reader.num_frames - 1
            # An eighth in from either end: many videos open and close on black.
            frames = reader.read([last * eighth // 8 for eighth in (1, 4, 7)])
    except (DecodingError, OSError):
        return None
    frames = frames.permute(0, 3, 1, 2)  # (T, H, W, C) -> (T, C, H, W)
    height_px, width_px = frames.shape[-2:]
    frames = vision.center_crop(frames, [height_px, min(width_px, round(height_px * _MOST_ASPECT))])
    scaled_px = max(1, round(frames.shape[-1] * HEIGHT_PX / height_px))
    frames = vision.resize(frames, [HEIGHT_PX, scaled_px], antialias=True)
    gap = torch.full((*frames.shape[1:3], _GAP_PX), 255, dtype=torch.uint8)
    row = torch.cat([piece for frame in frames for piece in (frame, gap)][:-1], dim=-1)
    written = io.BytesIO()
    Image.fromarray(row.permute(1, 2, 0).numpy()).save(written, "JPEG", quality=82)
    return written.getvalue()
