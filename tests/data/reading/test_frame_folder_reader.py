import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import EpsImagePlugin, Image

from videonl.data.reading.decoding import DecodingError, open_video

WriteFrames = Callable[..., Path]


def test_frames_in_the_order_of_their_numbers(
    tmp_path: Path, write_frames: WriteFrames, read_index: Callable[[torch.Tensor], int]
) -> None:
    folder = write_frames(tmp_path / "clip", 13, name="img_{}.png")  # img_10 sorts before img_2 as text
    Image.new("RGB", (62, 46)).save(folder / "flow_x_00001.png")
    with open_video(folder) as reader:
        assert reader.num_frames == 13
        frames = reader.read([12, 1, 1, 10])
    assert frames.shape == (4, 46, 62, 3)
    assert [read_index(frame) for frame in frames] == [12, 1, 1, 10]


def test_broken_and_mixed_folders_are_named(tmp_path: Path, write_frames: WriteFrames) -> None:
    folder = write_frames(tmp_path / "clip", 3)
    Image.new("RGB", (31, 46)).save(folder / "img_00002.png")
    with pytest.raises(DecodingError, match="images differ in size"):
        open_video(folder).read([0, 1, 2])
    (folder / "img_00002.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(DecodingError, match=r"clip: img_00002\.png is not one of JPEG, PNG, BMP, WEBP, or is damaged"):
        open_video(folder).read([0, 1, 2])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DecodingError, match="without images"):
        open_video(tmp_path / "empty")
    with pytest.raises(IndexError, match="frame 3 requested"):
        open_video(folder).read([3])


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 13 17\n%%EndComments\nshowpage\n%%EOF\n"


def test_no_program_is_started_for_an_image(
    tmp_path: Path, write_frames: WriteFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'trace'}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    folder = write_frames(tmp_path / "clip", 3)
    image = sorted(folder.iterdir())[1]
    image.write_bytes(EPS)
    with pytest.raises(DecodingError, match=f"{image.name} is not one of JPEG"):
        open_video(folder).read([0, 1, 2])
    assert not (tmp_path / "trace").exists()
    with contextlib.suppress(OSError), Image.open(image) as opened:
        opened.load()
    assert (tmp_path / "trace").exists()  # the attack itself is sound


def test_an_image_of_absurd_size_is_a_broken_image(tmp_path: Path, write_frames: WriteFrames, monkeypatch) -> None:
    folder = write_frames(tmp_path / "clip", 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    with pytest.raises(DecodingError, match=r"cannot be decoded .*decompression bomb"):
        open_video(folder).read([1])
