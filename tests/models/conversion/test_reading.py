"""Weights out of the files that training programs write around them."""

import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from videonl.errors import UserError
from videonl.models.conversion import Stated, convert
from videonl.models.conversion.reading import read_torch


class HistoryBuffer:
    """mmengine's log of one number: arrays, and its own methods by name."""

    def __init__(self) -> None:
        self.max_length = 1_000_000
        self._log_history, self._count_history = np.array([1.5, 2.5]), np.array([1, 1])
        self.statistics_methods = {"mean": self.mean}

    def mean(self) -> float:
        return float(self._log_history.mean())

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise AssertionError("an object of the file was restored")


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> HistoryBuffer:
    """An object that pickle writes under mmengine's name."""
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["mmengine.logging.history_buffer"].HistoryBuffer = HistoryBuffer
    monkeypatch.setattr(HistoryBuffer, "__module__", "mmengine.logging.history_buffer")
    return HistoryBuffer()


def test_a_checkpoint_of_mmengines_runner(
    public_network, by_place, agree, mmaction2_names, history: HistoryBuffer, tmp_path: Path
) -> None:
    network = public_network("i3d", stem_conv_stride=(2, 2, 2), stem_pool_stride=(2, 2, 2))
    state = {mmaction2_names(place, False): value for place, value in by_place(network).items()}
    content = {
        "meta": {"epoch": 1, "iter": 60, "cfg": "model = dict()", "seed": np.int64(3), "mmengine_version": "0.10.7"},
        "state_dict": OrderedDict(state),
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": history}),
            "runtime_info": OrderedDict(epoch=1, best=np.float64(0.5)),
            "resumed_keys": OrderedDict({"train/loss": True}),
        },
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]},
        "param_schedulers": [{"last_step": 1}],
    }
    torch.save(content, tmp_path / "epoch_1.pth")
    with pytest.raises(Exception, match=r"HistoryBuffer|getattr|numpy"):
        torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    weights = convert(tmp_path / "epoch_1.pth", "mmaction2", Stated("i3d_r50", (2, 2), num_frames=32, stride_frames=2))
    agree(weights, network, (2, 3, 17, 53, 47))


def test_what_stands_beside_weights_is_not_restored(history: HistoryBuffer, tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {"a": torch.ones(3)}, "message_hub": history, "numbers": np.arange(3)}, tmp_path / "a.pth"
    )
    content = read_torch(tmp_path / "a.pth")
    assert torch.equal(content["state_dict"]["a"], torch.ones(3))
    assert not hasattr(content["message_hub"], "max_length")
    assert not isinstance(content["numbers"], np.ndarray)


def test_an_object_among_the_weights_is_refused(history: HistoryBuffer, tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(3), "b": history}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="no tensors by name under 'state_dict'"):
        convert(tmp_path / "a.pth", "mmaction2", Stated("i3d_r50", (1, 1)))


def test_objects_that_no_training_program_is_known_to_keep_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(3)}, "extra": pytest.Item}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth"):
        read_torch(tmp_path / "a.pth")
