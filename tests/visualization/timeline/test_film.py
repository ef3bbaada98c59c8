from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from videonl.data.reading.decoding import open_video
from videonl.errors import UserError
from videonl.visualization.h264 import Look, write_h264
from videonl.visualization.timeline import Timeline
from videonl.visualization.timeline.playable import as_it_is, write_copy


def test_the_film_has_every_frame_at_its_time_and_the_labels_at_the_bottom(timeline: Timeline, tmp_path: Path) -> None:
    assert timeline.save(tmp_path / "film.mp4", threshold=0.3) == [tmp_path / "film.mp4"]
    with open_video(timeline.video) as source, open_video(tmp_path / "film.mp4") as film:
        assert torch.allclose(film.timestamps_seconds, source.timestamps_seconds, atol=2e-5)
        plain, drawn = (reader.read([7, 101]).float() for reader in (source, film))
    scale = drawn.shape[1] // plain.shape[1]
    assert scale == 6  # 46 pixels, enlarged to 256 or more
    top = slice(0, drawn.shape[1] // 4)
    assert (drawn[:, top].mean((1, 2, 3)) - plain.mean((1, 2, 3))).abs().max() < 3
    panels = drawn[:, -40:-6, :100]
    assert (panels.amax((1, 2, 3)) > 190).all()  # letters
    colors = [tuple(int(timeline.colors[name][at : at + 2], 16) for at in (1, 3, 5)) for name in timeline.colors]
    strip = drawn[0, -2, :: drawn.shape[2] // 50]
    nearest = torch.cdist(strip, torch.tensor(colors).float()).amin(dim=1)
    assert (nearest < 40).float().mean() > 0.4  # segments in their colors, between them the ground


def test_colors_come_back_as_they_went_in(tmp_path: Path) -> None:
    colors = torch.tensor([[200, 40, 40], [30, 180, 60], [40, 60, 220]], dtype=torch.uint8)
    picture = colors.repeat_interleave(48, dim=0)[None].expand(120, -1, -1)  # (3, 3) -> (120, 144, 3)
    write_h264(tmp_path / "a.mp4", [(0.0, picture), (0.1, picture)], 10, Look(crf=5))
    with open_video(tmp_path / "a.mp4") as reader:
        read = reader.read([0])[0].float()
    centers = read[60, [24, 72, 120]]
    assert (centers - colors).abs().max() <= 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == 1  # BT.709


def test_a_timeline_whose_video_is_gone_makes_no_film(timeline: Timeline, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"film\.mp4 needs the frames of gone\.mp4"):
        replace(timeline, video="gone.mp4").save(tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def write_odd(path: Path, codec: str, pixels: str = "yuv420p") -> Path:
    """Uneven times, and pixels twice as wide as high."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 62, 46, pixels
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(17):
            picture = np.full((46, 62, 3), 10 * index, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = 40 * index + 11 * (index % 3), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "plays"),
    [
        ("a.mp4", "libx264", "yuv420p", True),
        ("a.webm", "libvpx-vp9", "yuv420p", True),
        ("a.mkv", "libx264", "yuv420p", False),
        ("a.mp4", "mpeg4", "yuv420p", False),
        ("a.mp4", "libx264", "yuv444p", False),
    ],
)
def test_what_browsers_play_is_played_from_its_place(
    tmp_path: Path, name: str, codec: str, pixels: str, plays: bool
) -> None:
    played = as_it_is(write_odd(tmp_path / name, codec, pixels))
    assert (played is not None) == plays
    assert played is None or played.offset_seconds == pytest.approx(0, abs=1e-3)


def test_a_copy_has_the_frames_the_times_and_the_shape_of_the_video(tmp_path: Path) -> None:
    source = write_odd(tmp_path / "a.mkv", "libx264", "yuv444p")
    copy = write_copy(source, tmp_path / "copy.mp4").path
    assert as_it_is(copy) is not None
    with open_video(source) as one, open_video(copy) as other:
        assert torch.allclose(one.timestamps_seconds, other.timestamps_seconds, atol=1e-4)
        frames = [reader.read(range(17)).float().mean((1, 2, 3)) for reader in (one, other)]
    assert (frames[0] - frames[1]).abs().max() < 6
    with av.open(str(copy)) as container:
        assert container.streams.video[0].sample_aspect_ratio == 2
