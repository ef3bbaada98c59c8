import dataclasses

import pytest
import torch

from videonl.visualization import overlay
from videonl.visualization.drawing import enlarged, marked


def test_overlay_lights_the_attended_cell_and_leaves_the_rest(frames, one_hot):
    lit = (overlay(frames, one_hot((2, 3, 6))) != frames).any(-1)
    expected = torch.zeros_like(lit)
    expected[4:6, 24:32, 48:56] = True
    assert torch.equal(lit, expected)


def test_one_scale_for_the_whole_clip(frames, one_hot):
    attention = one_hot((0, 0, 0), weight=0.02)
    attention.weights[2, 4, 6] = 0.01
    shown = overlay(frames, attention).int()
    strong, weak = (shown[0, 0, 0] - 90).abs().sum(), (shown[5, 39, 55] - 90).abs().sum()
    assert strong > 2 * weak > 0
    # The same weights ten times smaller look the same: the largest weight has full color.
    smaller = dataclasses.replace(attention, weights=attention.weights / 10)
    assert torch.equal(overlay(frames, smaller).int(), shown)


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_weights_that_are_not_positive_leave_the_frames_alone(frames, one_hot, weight):
    assert torch.equal(overlay(frames, one_hot((1, 1, 1), weight=weight)), frames)


def test_frames_of_the_wrong_type(frames, one_hot):
    with pytest.raises(ValueError, match="uint8"):
        overlay(frames.float(), one_hot((0, 0, 0)))
    with pytest.raises(ValueError, match="uint8"):
        overlay(frames.permute(0, 3, 1, 2), one_hot((0, 0, 0)))


def test_square_is_around_the_query_cell(frames, one_hot):
    drawn = (marked(frames[0], one_hot((0, 0, 0))) != frames[0]).any(-1)
    rows, columns = drawn.nonzero().unbind(1)
    # Cell (1, 1, 2) of 8 x 8 pixels is rows 8-15 and columns 16-23; four rings lie outside.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 19, 12, 27)
    assert not drawn[8:16, 16:24].any()


@pytest.mark.parametrize("cell", [(0, 0, 0), (2, 4, 6)])
def test_square_stays_whole_at_the_edge(frames, one_hot, cell):
    attention = dataclasses.replace(one_hot((0, 0, 0)), cell=cell)
    cyan = (marked(frames[0], attention) == torch.tensor([0, 255, 255])).all(-1)
    rows, columns = cyan.nonzero().unbind(1)
    assert cyan[rows.min()].sum() == cyan[rows.max()].sum() == columns.max() - columns.min() + 1


def test_marking_leaves_the_frame_handed_in(frames, one_hot):
    before = frames.clone()
    marked(frames[0], one_hot((0, 0, 0)))
    assert torch.equal(frames, before)


def test_square_of_a_cell_smaller_than_the_rings(one_hot):
    marked(torch.zeros(2, 3, 3, dtype=torch.uint8), one_hot((0, 0, 0)))


def test_enlarging_repeats_pixels(frames):
    assert enlarged(frames, 100).shape == (6, 120, 168, 3)
    assert enlarged(frames, 30).shape == frames.shape
