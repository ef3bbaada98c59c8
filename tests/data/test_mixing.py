import pytest
import torch

from videonl.data.mixing import Mixing


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 256, (5, 7, 3, 11, 13), generator=generator, dtype=torch.uint8).permute(0, 4, 1, 2, 3)
    return clip[:, :3], torch.tensor([0, 1, 2, 3, 3])


def test_mixup_blends_neighbors_and_their_labels() -> None:
    clip, label = batch()
    mixed, soft = Mixing(mixup_alpha=0.7)(clip, label, 4, key=(1, 2, 3))
    share = float(soft[0, 0])  # of clip 0; the rest is clip 4's
    assert 0 < share < 1
    assert soft.sum(dim=1).tolist() == pytest.approx([1] * 5)
    assert soft[4].tolist() == pytest.approx([0, 0, 0, 1])
    torch.testing.assert_close(mixed, share * clip.float() + (1 - share) * clip[[4, 0, 1, 2, 3]].float())


def test_cutmix_puts_a_box_of_the_neighbor_into_all_frames() -> None:
    clip, label = batch()
    mixed, soft = Mixing(cutmix_alpha=1.0)(clip, label, 4, key=(1, 2, 4))
    neighbor = clip[[4, 0, 1, 2, 3]]
    assert mixed.dtype == torch.uint8
    box = (mixed == neighbor).flatten(0, 2).all(dim=0)
    assert 0 < int(box.sum()) < box.numel()
    assert torch.equal(mixed, torch.where(box, neighbor, clip))
    assert float(soft[0, 0]) == pytest.approx(1 - float(box.float().mean()))


def test_mixing_is_a_function_of_its_key() -> None:
    clip, label = batch()
    mixing = Mixing(mixup_alpha=1.0, cutmix_alpha=1.0)
    torch.manual_seed(1)
    first, soft = mixing(clip, label, 4, key=(1, 2))
    again, soft_again = mixing(clip, label, 4, key=(1, 2))
    assert torch.equal(first, again)
    assert torch.equal(soft, soft_again)
    assert {mixing(clip, label, 4, key=(seed,))[0].dtype for seed in range(9)} == {torch.uint8, torch.float32}
    assert not torch.equal(mixing(clip, label, 4, key=(2, 1))[1], soft)
    untouched = Mixing()(clip, label, 4, key=(1,))
    assert untouched[0] is clip
    assert untouched[1] is label


def test_negative_alphas_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cutmix_alpha .* got -1\.0"):
        Mixing(cutmix_alpha=-1.0)
