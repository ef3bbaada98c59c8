import dataclasses
from pathlib import Path

import av
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from videonl.errors import UserError
from videonl.visualization import film, strip
from videonl.visualization.film_bar import film_bar
from videonl.visualization.grid import pixels_of

PANEL_SCALE = 4  # 40 x 56 pixels enlarged to 160 x 224


def _picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def test_strip_changes_the_attended_cell_alone(tmp_path, frames, one_hot):
    nothing, something = tmp_path / "nothing.png", tmp_path / "something.png"
    # A weight of 1 is full color in both, so that titles and color bars are the same.
    strip(frames, one_hot((0, 0, 0), weight=0.0), nothing)
    strip(frames, one_hot((2, 3, 6)), something)
    rows, columns = (_picture(nothing) != _picture(something)).any(-1).nonzero()
    cell = 8 * PANEL_SCALE
    assert rows.max() - rows.min() + 1 == cell
    # Time cell 2 is frames 4 and 5: the same columns of two panels, 224 pixels and a gap apart.
    per_column = np.unique(columns)
    assert len(per_column) == 2 * cell
    assert 224 < per_column[cell] - per_column[0] < 240
    assert len(rows) == 2 * cell * cell


def test_evidence_has_no_query_to_mark_or_to_hold(tmp_path, frames, evidence):
    strip(frames, evidence, tmp_path / "strip.png")
    assert not (_picture(tmp_path / "strip.png") == [0, 255, 255]).all(-1).any()
    film(frames, evidence, tmp_path / "film.mp4", fps=5)
    shown = _decoded(tmp_path / "film.mp4")
    assert len(shown) == len(frames)
    scale = shown[0].shape[1] // 56
    for index, picture in enumerate(shown):
        lit = np.abs(picture[: 40 * scale] - 90).max(-1) > 40  # cell (0, 3, 1) is frames 0-2, rows 30-39, columns 14-27
        assert lit[32 * scale : 38 * scale, 16 * scale : 26 * scale].all() == (index < 3)
        assert not lit[: 28 * scale].any() and not lit[:, 30 * scale :].any()


def test_evidence_for_nothing_says_so(tmp_path, frames, evidence):
    nothing = dataclasses.replace(evidence, values=-evidence.values.abs())
    assert nothing.title == "evidence for hug: none above 0" and evidence.title == "evidence for hug"
    assert "res5.2" in evidence.details and "2 x 4 x 4" in evidence.details and "0.875" in evidence.details
    strip(frames, nothing, tmp_path / "strip.png")


def test_a_class_of_any_name_is_drawn_in_a_picture_of_bounded_size(tmp_path, frames, evidence):
    long = dataclasses.replace(evidence, class_name="start\n" + "W" * 3000 + " end")
    assert long.title.startswith("evidence for start WWW") and long.title.endswith("WWW end")
    for shown, name in ((evidence, "short"), (long, "long")):
        strip(frames, shown, tmp_path / f"{name}.png")
        film(frames, shown, tmp_path / f"{name}.gif", fps=5)
    for suffix in ("png", "gif"):
        with Image.open(tmp_path / f"short.{suffix}") as one, Image.open(tmp_path / f"long.{suffix}") as other:
            assert one.size == other.size


def test_the_text_of_a_film_ends_within_its_bar(evidence):
    bars = [film_bar(280, dataclasses.replace(evidence, class_name=name), "") for name in ("W" * 3000, "hug")]
    first, last = ((bar[:27] > 150).any(-1).any(0).nonzero().max() for bar in bars)
    assert 280 - 8 - 30 < first <= 280 - 8 and last < 200


def test_two_maps_beside_one_another_are_each_what_they_are_alone(tmp_path, frames, one_hot, evidence):
    attention = one_hot((2, 3, 6))
    film(frames, attention, tmp_path / "alone.gif", fps=5)
    film(frames, attention, tmp_path / "both.gif", fps=5, beside=evidence)
    with Image.open(tmp_path / "alone.gif") as alone, Image.open(tmp_path / "both.gif") as both:
        width, height = alone.size
        assert both.height == height and 2 * width <= both.width <= 2 * width + 10
        assert both.n_frames == alone.n_frames
        first = np.asarray(both.convert("RGB")).astype(int)
    scale = width // 56
    left, right = first[: 40 * scale, :width], first[: 40 * scale, -width:]
    assert _mean_change(left, scale, (4, 6)) < 20  # attention is in frames 4 and 5, evidence in 0 to 2
    lit = np.abs(right - 90).max(-1)[31 * scale : 39 * scale, 15 * scale : 27 * scale]
    assert lit.min() > 40
    assert np.abs(left - 90).max(-1)[31 * scale : 39 * scale, 15 * scale : 27 * scale].max() < 20
    # The query is marked on both, so that its place can be found in either.
    with Image.open(tmp_path / "both.gif") as both:
        both.seek(3)
        held = np.asarray(both.convert("RGB")).astype(int)[: 40 * scale]
    cyan = (np.abs(held - [0, 255, 255]).max(-1) < 40).nonzero()[1]
    assert (cyan < width).any() and (cyan > width).any()


def test_strip_of_two_maps_has_a_row_more(tmp_path, frames, one_hot, evidence):
    strip(frames, one_hot((2, 3, 6)), tmp_path / "one.png")
    strip(frames, one_hot((2, 3, 6)), tmp_path / "two.png", beside=evidence)
    strip(
        frames,
        one_hot((2, 3, 6)),
        tmp_path / "none.png",
        beside=dataclasses.replace(evidence, values=evidence.values * 0),
    )
    one, two, none = (_picture(tmp_path / f"{name}.png") for name in ("one", "two", "none"))
    assert one.shape[1] == two.shape[1] and two.shape[0] - one.shape[0] > 160
    rows, columns = (two != none)[:, : 6 * 230].any(-1).nonzero()
    cell = (10 * PANEL_SCALE, 14 * PANEL_SCALE)
    below = rows[rows > 2 * 160 + 2 * 64]  # beneath the plain frames, the attention and the titles
    assert below.max() - below.min() + 1 == cell[0]
    assert columns[rows > 2 * 160 + 2 * 64].min() < 230 < columns.max() < 3 * 230


def test_strip_wraps_after_eight_frames(tmp_path, frames, one_hot):
    heights, widths = [], []
    for num_frames in (8, 9, 17):
        strip(frames[:1].expand(num_frames, -1, -1, -1), one_hot((0, 0, 0)), tmp_path / "strip.png")
        height, width, _ = _picture(tmp_path / "strip.png").shape
        heights.append(height)
        widths.append(width)
    assert widths[0] == widths[1] == widths[2] > 8 * 224
    assert heights[1] - heights[0] == heights[2] - heights[1] > 2 * 160


def test_strip_marks_the_query_on_its_frame_only(tmp_path, frames, one_hot):
    strip(frames, one_hot((0, 0, 0), weight=0.0), tmp_path / "strip.png")
    cyan = (_picture(tmp_path / "strip.png") == [0, 255, 255]).all(-1)
    columns = cyan.nonzero()[1]
    assert len(columns) > 0
    assert columns.max() - columns.min() < 8 * PANEL_SCALE + 8
    # The query's time cell 1 has its center in frame 3, the fourth panel.
    assert columns.min() > 3 * 224
    assert columns.max() < 4 * 224 + 50


@pytest.mark.parametrize("name", ["res3.1 $x", "$\\frac{$", "a.very.long.name." * 8])
def test_any_name_can_be_drawn(tmp_path, frames, one_hot, name):
    attention = dataclasses.replace(one_hot((0, 0, 0)), block=name)
    strip(frames[:1], attention, tmp_path / "strip.png")
    film(frames[:1], attention, tmp_path / "film.mp4")
    assert _picture(tmp_path / "strip.png").shape[1] >= 10 * len(name)


def test_negative_weights_are_named_in_the_strip(tmp_path, frames, one_hot):
    strip(frames, one_hot((0, 0, 0), weight=0.0), tmp_path / "zero.png")
    strip(frames, one_hot((0, 0, 0), weight=-0.5), tmp_path / "negative.png")
    # Both are drawn as 0; what differs is the name of the color bar, right of the six panels.
    columns = (_picture(tmp_path / "zero.png") != _picture(tmp_path / "negative.png")).any(-1).nonzero()[1]
    assert columns.min() > 6 * 224


def test_strip_does_not_follow_the_users_matplotlib_settings(tmp_path, frames, one_hot):
    strip(frames, one_hot((0, 0, 0)), tmp_path / "plain.png")
    with matplotlib.rc_context({"savefig.dpi": 300, "savefig.bbox": "tight"}):
        strip(frames, one_hot((0, 0, 0)), tmp_path / "settings.png")
    assert np.array_equal(_picture(tmp_path / "plain.png"), _picture(tmp_path / "settings.png"))


def test_film_holds_the_query_frame_for_a_second(tmp_path, frames, one_hot):
    film(frames, one_hot((0, 4, 6)), tmp_path / "new" / "film.mp4", fps=5)
    shown = _decoded(tmp_path / "new" / "film.mp4")
    assert len(shown) == 5 + 5
    height, width, _ = shown[0].shape
    assert height % 2 == width % 2 == 0 and height > width * 40 / 56 > 256
    is_lit = [_mean_change(picture, width // 56, (4, 6)) > 40 for picture in shown]
    assert is_lit == [True] * 2 + [False] * 8


def _mean_change(picture: np.ndarray, scale: int, cell: tuple[int, int]) -> float:
    rows, columns = (pixels_of(c, g, s) for c, g, s in zip(cell, (5, 7), (40, 56), strict=True))
    inside = picture[rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
    return float(np.abs(inside - 90).mean())


def test_film_marks_the_query_clearly_on_its_frame_and_faintly_on_others(tmp_path, frames, one_hot):
    film(frames, one_hot((0, 4, 6), weight=0.0), tmp_path / "film.mp4", fps=2)
    shown = _decoded(tmp_path / "film.mp4")
    scale = shown[0].shape[1] // 56
    around = [np.abs(picture[: 40 * scale] - 90).max() for picture in shown]
    held = [change > 120 for change in around]
    assert held == [False] * 3 + [True] * 2 + [False] * 2
    assert all(change > 20 for change in around)


def test_gif_shows_what_the_film_shows(tmp_path, frames, one_hot):
    film(frames, one_hot((0, 4, 6)), tmp_path / "film.gif", fps=5)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.info["loop"] == 0  # for ever
        shown, milliseconds = [], 0
        for frame in ImageSequence.Iterator(gif):
            shown.append(np.asarray(frame.convert("RGB")).astype(int))
            milliseconds += frame.info["duration"]
    assert milliseconds == 10 * 200  # equal pictures, as those of the query's second, may be one that lasts longer
    is_lit = [_mean_change(picture, picture.shape[1] // 56, (4, 6)) > 40 for picture in shown]
    assert is_lit[:2] == [True, True] and not any(is_lit[2:])


def test_bar_beneath_the_film_has_the_colors_from_clear_to_full(tmp_path, frames, one_hot):
    film(frames, one_hot((0, 0, 0)), tmp_path / "film.mp4")
    picture = _decoded(tmp_path / "film.mp4")[0]
    height, width, _ = picture.shape
    row = picture[height - 20]
    colored = np.flatnonzero(row.max(axis=1) - row.min(axis=1) > 60)
    assert colored.max() - colored.min() > width / 3
    assert row[colored.max()][0] > 200 > row[colored.max()][2]  # ends in yellow
    assert row[colored.min()].mean() < row[colored.max()].mean()


def test_times_are_written_beneath_frames(tmp_path, frames, one_hot):
    seconds = [index / 10 for index in range(6)]
    strip(frames, one_hot((0, 0, 0)), tmp_path / "plain.png")
    strip(frames, one_hot((0, 0, 0)), tmp_path / "timed.png", seconds)
    rows, columns = (_picture(tmp_path / "plain.png") != _picture(tmp_path / "timed.png")).any(-1).nonzero()
    assert rows.min() > 2 * 160 and rows.max() - rows.min() < 20  # nothing but the labels, below both rows of panels
    assert columns.max() - columns.min() > 5 * 224
    film(frames, one_hot((0, 0, 0)), tmp_path / "plain.mp4")
    film(frames, one_hot((0, 0, 0)), tmp_path / "timed.mp4", seconds=seconds)
    plain, timed = (_decoded(tmp_path / name)[5] for name in ("plain.mp4", "timed.mp4"))
    rows = (np.abs(plain - timed).max(-1) > 60).nonzero()[0]
    assert rows.min() > 160


def test_film_of_an_odd_size(tmp_path, one_hot):
    odd = torch.zeros(2, 257, 301, 3, dtype=torch.uint8)
    film(odd, one_hot((0, 0, 0)), tmp_path / "film.mp4", fps=29.97)
    height, width, _ = _decoded(tmp_path / "film.mp4")[0].shape
    assert width == 302 and height % 2 == 0


@pytest.mark.parametrize("fps", [0, -1, 1000, float("nan")])
def test_film_at_an_impossible_pace(tmp_path, frames, one_hot, fps):
    with pytest.raises(UserError, match=f"fps {fps}"):
        film(frames, one_hot((0, 0, 0)), tmp_path / "film.mp4", fps=fps)


def test_wrong_ending_is_named(tmp_path, frames, one_hot):
    with pytest.raises(UserError, match=r"film\.webm.*\.mp4"):
        film(frames, one_hot((0, 0, 0)), tmp_path / "film.webm")
    with pytest.raises(UserError, match=r"strip\.jpg.*\.png"):
        strip(frames, one_hot((0, 0, 0)), tmp_path / "strip.jpg")


def test_a_failed_film_leaves_the_old_file_and_no_other(tmp_path, frames, one_hot, monkeypatch):
    target = tmp_path / "film.mp4"
    target.write_text("old")
    monkeypatch.setattr("videonl.visualization.render.marked", _fail)
    with pytest.raises(RuntimeError, match="out of ink"):
        film(frames, one_hot((0, 0, 0)), target)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert target.read_text() == "old"


def _fail(*args, **kwargs):
    raise RuntimeError("out of ink")


def test_a_folder_that_cannot_be_made(tmp_path, frames, one_hot):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"strip\.png cannot be written"):
        strip(frames, one_hot((0, 0, 0)), tmp_path / "file" / "strip.png")
