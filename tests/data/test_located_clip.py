"""Where a clip's frames and pixels lie in its video, against videos whose frames and pixels are known."""

import av
import numpy as np
import pytest
import torch

from videonl.data.located_clip import read_middle_clip
from videonl.data.transforms import ClipFormat


def test_frames_are_those_it_names(tmp_path, encode_video, read_indices):
    video = encode_video(tmp_path / "video.mp4", num_frames=31, height=46, width=46)
    clip = read_middle_clip(video, ClipFormat(num_frames=5, stride_frames=3, short_side_px=46, crop_px=46))
    assert read_indices(clip.pixels) == list(clip.video_frames) == [9, 12, 15, 18, 21]
    assert clip.seconds == pytest.approx([index / 24 for index in clip.video_frames])
    assert clip.num_repeated == 0


def test_a_short_video_repeats_its_last_frame_and_counts(tmp_path, encode_video):
    video = encode_video(tmp_path / "video.mp4", num_frames=7)
    clip = read_middle_clip(video, ClipFormat(num_frames=5, stride_frames=3, short_side_px=31, crop_px=29))
    assert clip.video_frames == (0, 3, 6, 6, 6)
    assert clip.num_repeated == 2
    assert clip.pixels.shape == (3, 5, 29, 29)


@pytest.mark.parametrize(("height", "width"), [(120, 180), (190, 110), (113, 151)])
def test_crop_leads_from_a_pixel_of_the_clip_to_that_of_the_video(tmp_path, height, width):
    true_y, true_x = height // 2 - 17, width // 2 + 13
    video = tmp_path / "video.mkv"
    frame = np.zeros((height, width, 3), np.uint8)
    frame[true_y - 3 : true_y + 4, true_x - 3 : true_x + 4] = 255
    with av.open(str(video), "w") as container:
        stream = container.add_stream("ffv1", rate=10)  # lossless, of any size
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    clip = read_middle_clip(video, ClipFormat(num_frames=1, stride_frames=1, short_side_px=80, crop_px=70))
    light = clip.pixels[:, 0].float().mean(dim=0)
    top, left, crop_height, crop_width = clip.crop
    y = (light.sum(dim=1) * (torch.arange(70) + 0.5)).sum() / light.sum() / 70 * crop_height + top
    x = (light.sum(dim=0) * (torch.arange(70) + 0.5)).sum() / light.sum() / 70 * crop_width + left
    assert float(y) == pytest.approx(true_y + 0.5, abs=0.3)
    assert float(x) == pytest.approx(true_x + 0.5, abs=0.3)
