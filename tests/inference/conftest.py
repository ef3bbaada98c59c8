"""Videos in which every frame and every place differs."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def textured(path: Path, num_frames: int = 59, size: tuple[int, int] = (61, 83), vfr: bool = False) -> Path:
    """A moving texture, in which every frame and every place differs."""
    noise = np.random.default_rng(3).integers(0, 255, (*size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "13"})
        stream.height, stream.width, stream.pix_fmt = size[0], size[1] - 1, "yuv444p"
        stream.codec_context.thread_count = 1
        if vfr:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(num_frames):
            pixels = np.roll(noise, (2 * index, 3 * index), (0, 1))[:, : size[1] - 1]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if vfr:
                frame.pts, frame.time_base = 40 * index + 7 * (index % 5), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
