import numpy as np
import pytest
import torch

from videonl.errors import UserError
from videonl.visualization import EvidenceMap, ShownClip, save_arrays, save_evidence
from videonl.visualization.grid import spread

NAME = "a clip <b>.mp4"


@pytest.fixture
def clip(frames):
    indices = (4, 6, 8, 10, 12, 14)
    return ShownClip(NAME, frames, indices, tuple(index / 25 for index in indices), (3.5, 11.0, 80.0, 112.0))


def test_arrays_say_for_every_pixel_what_a_query_reads_there(tmp_path, clip, one_hot):
    # Keys of a grid of 5 x 7 pooled by two: its last row and column belong to none.
    maps = [one_hot((2, 1, 2), keys=(3, 2, 3), weight=0.75), one_hot((0, 0, 1), keys=(3, 2, 3))]
    save_arrays(clip, maps, tmp_path / "new" / "block.npz")
    with np.load(tmp_path / "new" / "block.npz", allow_pickle=False) as arrays:
        weights = arrays["weights"]
        assert weights.dtype == np.float32 and weights.shape == (2, 3, 2, 3)
        keys = [arrays[f"key_of_{axis}"] for axis in ("frame", "row", "column")]
        assert [len(axis) for axis in keys] == arrays["size"].tolist() == [6, 40, 56]
        covered = (keys[1] >= 0)[:, None] & (keys[2] >= 0)
        for attention, row in zip(maps, weights, strict=True):
            pixels = np.where(covered, row[np.ix_(*keys)], 0)
            assert np.array_equal(pixels, spread(attention.weights, attention.grid, clip.size).numpy())
        assert arrays["queries"].tolist() == [list(attention.query) for attention in maps]
        assert arrays["cells"].tolist() == [[1, 1, 2]] * 2
        assert arrays["grid"].tolist() == [3, 5, 7]
        assert arrays["video_frames"].tolist() == [4, 6, 8, 10, 12, 14]
        assert arrays["seconds"].tolist() == pytest.approx([0.16, 0.24, 0.32, 0.4, 0.48, 0.56])
        assert arrays["crop"].tolist() == [3.5, 11, 80, 112]
        assert (str(arrays["block"]), str(arrays["video"])) == ("layer2.0", NAME)


def test_arrays_of_evidence_keep_what_is_against_a_class(tmp_path, clip):
    values = torch.arange(-50.0, 55).view(3, 5, 7)
    maps = [EvidenceMap("hug <b>", 4, 0.75, "res5.2", values), EvidenceMap("push", 1, 0.125, "res5.2", -values)]
    save_evidence(clip, maps, tmp_path / "evidence.npz")
    with np.load(tmp_path / "evidence.npz", allow_pickle=False) as arrays:
        assert arrays["evidence"].dtype == np.float32
        assert np.array_equal(arrays["evidence"], torch.stack([values, -values]).numpy())
        pixels = arrays["evidence"][0][np.ix_(*(arrays[f"key_of_{axis}"] for axis in ("frame", "row", "column")))]
        assert np.array_equal(pixels, spread(values, (3, 5, 7), clip.size).numpy())
        assert arrays["classes"].tolist() == ["hug <b>", "push"] and arrays["class_indices"].tolist() == [4, 1]
        assert arrays["probabilities"].tolist() == [0.75, 0.125]
        assert (str(arrays["layer"]), str(arrays["video"])) == ("res5.2", NAME)
        assert arrays["grid"].tolist() == [3, 5, 7] and arrays["seconds"][1] == pytest.approx(0.24)
    other = EvidenceMap("hug", 4, 0.75, "res4.5", values)
    for wrong in ([], [maps[0], other]):
        with pytest.raises(ValueError, match="one layer"):
            save_evidence(clip, wrong, tmp_path / "evidence.npz")


def test_maps_of_several_blocks_or_none(tmp_path, clip, one_hot):
    other = one_hot((0, 0, 0))
    object.__setattr__(other, "block", "layer3.0")
    for maps in ([], [one_hot((0, 0, 0)), other]):
        with pytest.raises(ValueError, match="one block"):
            save_arrays(clip, maps, tmp_path / "block.npz")


def test_wrong_ending_is_named(tmp_path, clip, one_hot):
    with pytest.raises(UserError, match=r"block\.mat.*\.npz"):
        save_arrays(clip, [one_hot((0, 0, 0))], tmp_path / "block.mat")


def test_size_of_a_clip_is_in_frames_and_pixels(clip):
    assert clip.size == (6, 40, 56) == tuple(torch.zeros(clip.size).shape)
