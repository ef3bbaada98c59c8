"""A training that is interrupted in the middle of an epoch goes on as if it had not been."""

from pathlib import Path
from typing import Any

import pytest

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading, ResumableLoader
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)


def loader(video_folder: Path, num_workers: int = 0, **options: Any) -> ResumableLoader:
    loading = Loading(**{"batch_size": 2, "num_workers": num_workers} | options)
    made = ClipDataModule(train=str(video_folder), clip=CLIP, loading=loading).train_dataloader()
    assert isinstance(made, ResumableLoader)
    return made


def contents(batches: Any) -> list[tuple[list[int], bytes]]:
    return [(batch["video"], batch["clip"].numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize(("num_workers", "source"), [(0, "video_folder"), (1, "segments"), (3, "video_folder")])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_rest_of_the_epoch_and_the_next_are_those_of_an_uninterrupted_run(
    num_workers: int, source: str, request: pytest.FixtureRequest
) -> None:
    video_folder: Path = request.getfixturevalue(source)
    whole = loader(video_folder)
    expected = []
    for epoch in (1, 2):
        whole.sampler.set_epoch(epoch)
        expected.append(contents(whole))
    interrupted = loader(video_folder, num_workers)
    interrupted.sampler.set_epoch(1)
    batches = iter(interrupted)
    next(batches)
    state = interrupted.state_dict()  # while workers have loaded further
    assert state["num_batches_done"] == 1
    resumed = loader(video_folder, num_workers)
    resumed.load_state_dict(state)
    assert len(resumed) == 3
    assert contents(resumed) == expected[0][1:]
    assert resumed.state_dict()["num_batches_done"] == 3
    resumed.sampler.set_epoch(2)
    assert contents(resumed) == expected[1]


def test_a_state_can_be_taken_from_a_resumed_run(video_folder: Path) -> None:
    first = loader(video_folder)
    batches = contents(first)
    for done in (1, 2):
        second = loader(video_folder)
        second.load_state_dict(first.state_dict() | {"num_batches_done": done - 1})
        next(iter(second))
        assert second.state_dict()["num_batches_done"] == done
        third = loader(video_folder)
        third.load_state_dict(second.state_dict())
        assert contents(third) == batches[done:]


def test_other_batches_cannot_go_on_in_the_middle_of_an_epoch(video_folder: Path) -> None:
    first = loader(video_folder)
    next(iter(first))
    with pytest.raises(UserError, match=r"middle of an epoch.*videos_per_batch 2, now 3; seed 0, now 1\. Restore"):
        loader(video_folder, batch_size=3, seed=1).load_state_dict(first.state_dict())
    list(first)
    loader(video_folder, batch_size=3).load_state_dict(first.state_dict())


def test_an_epoch_that_is_over_is_followed_by_one_of_other_batches(video_folder: Path) -> None:
    first = loader(video_folder)
    first.limit = 2
    batches = iter(first)
    next(batches), next(batches)
    assert first.is_through
    ended, longer = first.state_dict() | {"is_over": True}, loader(video_folder, batch_size=1)
    longer.load_state_dict(ended)
    longer.set_epoch(1)
    assert len(list(longer)) == 7
    with pytest.raises(UserError, match="middle of an epoch"):
        loader(video_folder, batch_size=1).load_state_dict(first.state_dict())


def test_balanced_draws_resume_exactly_and_with_the_same_balance_alone(video_folder: Path) -> None:
    def balanced(balance: Any) -> ResumableLoader:
        loading = Loading(batch_size=2, num_workers=0)
        data = ClipDataModule(train=str(video_folder), clip=CLIP, loading=loading, balance=balance)
        made = data.train_dataloader()
        assert isinstance(made, ResumableLoader)
        return made

    whole, interrupted = balanced({"a": 5}), balanced({"a": 5})
    batches = contents(whole)
    next(iter(interrupted))
    resumed = balanced({"a": 5})
    resumed.load_state_dict(interrupted.state_dict())
    assert contents(resumed) == batches[1:] and batches != contents(balanced("none"))
    with pytest.raises(UserError, match=r"middle of an epoch.*balance \{'a': 5\}, now sqrt"):
        balanced("sqrt").load_state_dict(interrupted.state_dict())
    with pytest.raises(UserError, match=r"middle of an epoch.*balance none, now sqrt"):
        balanced("sqrt").load_state_dict({**balanced("none").state_dict(), "num_batches_done": 1})
    with pytest.raises(UserError, match="middle of an epoch"):
        balanced("none").load_state_dict(interrupted.state_dict())
