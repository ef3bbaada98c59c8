import pytest
import torch

from videonl.visualization.grid import cell_of, center_of, key_centers, keys_at, keys_of_pixels, pixels_of, spread


@pytest.mark.parametrize(("grid", "size"), [(1, 1), (5, 6), (7, 7), (7, 112), (14, 113), (28, 224), (3, 8)])
def test_cells_share_out_the_pixels_and_their_centers_lead_back(grid, size):
    shared_out = [pixel for cell in range(grid) for pixel in pixels_of(cell, grid, size)]
    assert shared_out == list(range(size))
    for cell in range(grid):
        assert center_of((cell,) * 3, (grid,) * 3, (size,) * 3)[0] in pixels_of(cell, grid, size)
        assert cell_of(center_of((cell,) * 3, (grid,) * 3, (size,) * 3), (grid,) * 3, (size,) * 3) == (cell,) * 3


def test_axes_are_mapped_each_by_their_own_scale():
    assert cell_of((5, 39, 16), grid=(3, 5, 7), size=(6, 40, 56)) == (2, 4, 2)
    assert center_of((2, 4, 2), grid=(3, 5, 7), size=(6, 40, 56)) == (5, 36, 20)


def test_cells_finer_than_pixels_still_have_a_pixel():
    assert pixels_of(5, grid=6, size=3) == range(2, 3)


@pytest.mark.parametrize("key", [(0, 0, 0), (2, 4, 6), (1, 3, 2)])
def test_a_weight_covers_its_cell_and_nothing_else(key):
    weights = torch.zeros(3, 5, 7)
    weights[key] = 0.25
    pixels = spread(weights, grid=(3, 5, 7), size=(6, 40, 56))
    t, y, x = key
    expected = torch.zeros(6, 40, 56)
    expected[2 * t : 2 * t + 2, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 0.25
    torch.testing.assert_close(pixels, expected, rtol=0, atol=0)


def test_keys_pooled_from_an_odd_grid_cover_two_cells_and_leave_the_last_dark():
    # A grid of 5 x 7 pooled 2 x 2 by max_pool3d is 2 x 3; row 4 and column 6 enter no key.
    pixels = spread(torch.ones(3, 2, 3), grid=(3, 5, 7), size=(6, 40, 56))
    assert pixels[:, :32, :48].eq(1).all()
    assert pixels[:, 32:].eq(0).all()
    assert pixels[:, :, 48:].eq(0).all()


def test_pooled_keys_lie_where_pooling_took_them_from():
    seen = torch.zeros(1, 1, 3, 5, 7)
    seen[0, 0, 1, 2, 5] = 1
    keys = torch.nn.functional.max_pool3d(seen, (1, 2, 2))[0, 0]
    lit = spread(keys, grid=(3, 5, 7), size=(6, 40, 56)).nonzero()
    assert lit.amin(0).tolist() == [2, 16, 32]
    assert lit.amax(0).tolist() == [3, 31, 47]


def test_a_single_pooled_key_covers_its_grid():
    assert spread(torch.ones(1, 1, 1), grid=(1, 1, 1), size=(2, 3, 5)).eq(1).all()
    assert spread(torch.ones(1, 1, 1), grid=(4, 4, 6), size=(8, 8, 12)).eq(1).all()


def test_keys_finer_than_the_grid_lie_on_their_own_cells():
    # A block on a 2 x 2 grid may read an earlier stage of 4 x 4 keys.
    keys = torch.arange(16.0).reshape(1, 4, 4)
    pixels = spread(keys, grid=(1, 2, 2), size=(1, 8, 8))
    assert torch.equal(pixels, keys.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2))


def test_key_centers_are_the_middles_of_the_pixels_that_belong_to_the_keys():
    for num_keys, num_cells, num_pixels in ((5, 5, 35), (2, 5, 35), (3, 7, 21), (10, 5, 40), (1, 3, 6)):
        keys = keys_of_pixels(num_keys, num_cells, num_pixels)
        middles = [(keys == key).nonzero().double().mean() + 0.5 for key in range(num_keys)]
        assert key_centers(num_keys, num_cells, num_pixels).tolist() == pytest.approx([float(m) for m in middles])


def test_keys_at_cells_are_those_of_their_pixels():
    for num_keys, num_cells, num_pixels in ((5, 5, 35), (2, 5, 35), (3, 7, 21), (10, 5, 40)):
        found = keys_at(torch.arange(num_cells), num_keys, num_cells)
        keys = keys_of_pixels(num_keys, num_cells, num_pixels)
        cells = torch.arange(num_pixels) * num_cells // num_pixels
        for cell in range(num_cells):
            assert found[cell].nonzero().flatten().tolist() == [
                k for k in keys[cells == cell].unique().tolist() if k >= 0
            ]
