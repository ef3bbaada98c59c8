"""Weights out of the files that training programs write around them."""

import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from videonl.errors import UserError
from videonl.models.conversion import Layout, Stated, convert
from videonl.models.conversion.checkpoint_io import read_torch


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


def test_safetensors(public_network, agree, tmp_path: Path) -> None:
    network = public_network("slow")
    save_file(network.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    agree(convert(tmp_path / "model.safetensors", "pytorchvideo"), network)


@pytest.mark.parametrize("kept", [9, 60, 3000])
def test_a_damaged_safetensors_file(public_network, tmp_path: Path, kept: int) -> None:
    save_file(public_network("slow").state_dict(), tmp_path / "whole.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:kept])
    with pytest.raises(UserError, match=r"half\.safetensors (is a damaged safetensors file|cannot be read)"):
        convert(tmp_path / "half.safetensors", "pytorchvideo")


@pytest.mark.parametrize("name", ["model_state_dict", "state_dict", "model_state", "model"])
@pytest.mark.parametrize("layout", ["pytorchvideo", "torchvision"])
def test_weights_under_the_names_of_any_training_script(
    public_network, tmp_path: Path, layout: Layout, name: str
) -> None:
    from torchvision.models.video import r3d_18

    state = public_network("slow").state_dict() if layout == "pytorchvideo" else r3d_18(num_classes=7).state_dict()
    torch.save({"epoch": 3, name: state, "optimizer_state_dict": {"state": {}}}, tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", layout).state.keys() == state.keys()
