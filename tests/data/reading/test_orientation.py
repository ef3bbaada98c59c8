"""Display matrices and EXIF: all eight ways to show a picture, in everything that reads frames."""

import itertools
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from videonl.data.indexing.facts import Task, examine
from videonl.data.preparing.encoding import Encoding, encode
from videonl.data.reading import orientation as orientation_module
from videonl.data.reading.decoding import check_decoder, open_video
from videonl.data.reading.frame_table import FrameTable
from videonl.errors import UserError

HEIGHT, WIDTH, NUM_FRAMES = 46, 62, 13
Matrix = tuple[int, int, int, int]  # a, b, c, d of ISO/IEC 14496-12, 6.2.2
SIGNS = list(itertools.product((1, -1), repeat=2))
MATRICES: list[Matrix] = [(a, 0, 0, d) for a, d in SIGNS] + [(0, b, c, 0) for b, c in SIGNS]
matrices = pytest.mark.parametrize("matrix", MATRICES, ids=str)


def picture(index: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Another picture in each of its eight orientations: a bright corner and a gray edge."""
    rgb = np.full((height, width, 3), 16, np.uint8)
    rgb[: height // 2, : width // 3] = 250
    rgb[height * 3 // 4 :] = 120
    rgb[:, :, 1] = rgb[:, :, 1] // 2 + 5 * index
    return rgb


def shown(stored: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """Pixel by pixel: (p, q) is shown at (a p + c q, b p + d q), moved to where coordinates begin at 0."""
    a, b, c, d = matrix
    height, width = stored.shape[:2]
    places = {(p, q): (a * p + c * q, b * p + d * q) for p in range(width) for q in range(height)}
    left, top = (min(place[axis] for place in places.values()) for axis in (0, 1))
    size = (height, width) if a else (width, height)
    result = np.zeros((*size, 3), np.uint8)
    for (p, q), (x, y) in places.items():
        result[y - top, x - left] = stored[q, p]
    return result


def write_video(path: Path, matrix: Matrix) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"bf": "2", "g": "7", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44  # type, version, times, track, duration, layer, volume
    a, b, c, d = (value << 16 for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def stored_frames(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("decoder", ["auto", "decord", "torchcodec"])
@matrices
def test_frames_are_shown_as_the_matrix_says(tmp_path: Path, matrix: Matrix, decoder: str) -> None:
    try:
        check_decoder(decoder)
    except UserError as error:
        pytest.skip(str(error))
    path = write_video(tmp_path / "a.mp4", matrix)
    stored = stored_frames(path)
    frames = open_video(path, decoder).read([11, 3])
    expected = torch.from_numpy(np.stack([shown(stored[index], matrix) for index in (11, 3)]))
    torch.testing.assert_close(frames, expected, rtol=0, atol=0 if decoder == "auto" else 2)
    passed = torch.stack([*open_video(path, decoder).frames([3, 11])])
    assert torch.equal(passed, frames.flip(0))


@matrices
def test_the_index_says_how_and_hands_it_on(tmp_path: Path, matrix: Matrix) -> None:
    record = examine(Task(write_video(tmp_path / "a.mp4", matrix)))
    upright = shown(stored_frames(tmp_path / "a.mp4")[3], matrix)
    assert (record.status, record.height, record.width) == ("ok", *upright.shape[:2])
    assert record.rotation is not None
    turned = np.rot90(stored_frames(tmp_path / "a.mp4")[3], record.rotation // 90)
    np.testing.assert_array_equal(turned[:, ::-1] if record.mirrored else turned, upright)
    assert record.exact_backends == record.compared_backends
    table = FrameTable.from_text(record.frame_table)
    for decoder in record.exact_backends:
        frame = open_video(tmp_path / "a.mp4", decoder, known=table).read([3])[0]
        torch.testing.assert_close(frame, torch.from_numpy(upright), rtol=0, atol=2)


@matrices
def test_prepared_files_are_upright(tmp_path: Path, matrix: Matrix) -> None:
    source = write_video(tmp_path / "a.mp4", matrix)
    encode(source, tmp_path / "b.mp4", Encoding(crf=1), NUM_FRAMES)
    expected, written = open_video(source).read([11]).float(), open_video(tmp_path / "b.mp4").read([11]).float()
    assert written.shape == expected.shape
    assert (written - expected).abs().mean() < 3
    record = examine(Task(tmp_path / "b.mp4"))
    assert (record.rotation, record.mirrored) == (0, False)


@pytest.mark.parametrize("tag", range(1, 9))
def test_images_are_shown_as_exif_says(tmp_path: Path, tag: int) -> None:
    # CIPA DC-008, 4.6.4: where the first row and the first column of the stored image are to be shown.
    stored = picture(7)
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[tag]
    expected = stored if rows in ("top", "bottom") else stored.transpose(1, 0, 2)
    expected = expected[::-1] if "bottom" in (rows, columns) else expected
    expected = expected[:, ::-1] if "right" in (rows, columns) else expected
    exif = Image.Exif()
    exif[0x0112] = tag
    for index in range(3):
        (tmp_path / "video").mkdir(exist_ok=True)
        Image.fromarray(stored).save(tmp_path / "video" / f"img_{index:05d}.png", exif=exif)
    frames = open_video(tmp_path / "video").read([2])
    np.testing.assert_array_equal(frames[0].numpy(), expected)
    record = examine(Task(tmp_path / "video"))
    assert (record.height, record.width) == expected.shape[:2]
    encode(tmp_path / "video", tmp_path / "b.mp4", Encoding(), num_frames=3)
    assert open_video(tmp_path / "b.mp4").read([2]).shape == frames.shape


def test_rotation_is_applied_where_pyav_cannot_list_a_frames_side_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(frame: object) -> None:
        raise ValueError("40 is not a valid Type")

    monkeypatch.setattr(orientation_module, "_SIDE_DATA", unknown)
    path = write_video(tmp_path / "a.mp4", (0, 1, -1, 0))
    expected = torch.from_numpy(shown(stored_frames(path)[3], (0, 1, -1, 0)))
    assert torch.equal(open_video(path).read([3])[0], expected)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "dims", "transposed"), [("m_hflip", [2], False), ("m_rot90", [2], True), ("m_transpose", [], True)]
)
def test_mirrored_files(shared_clips: Path, name: str, dims: list[int], transposed: bool) -> None:
    folder = shared_clips.parent / "cases" / "mirrored"
    base, frames = (open_video(folder / f"{each}.mp4").read([0, 11, 23]) for each in ("base", name))
    assert torch.equal(frames, (base.transpose(1, 2) if transposed else base).flip(dims))
