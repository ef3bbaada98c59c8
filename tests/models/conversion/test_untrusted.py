"""No file runs code, whatever it is given as."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.checkpoints import load_trained, read_weights
from videonl.models.conversion import OF_ARRAYS, Layout, Stated, convert
from videonl.models.conversion.checkpoint_io import read_arrays
from videonl.models.zoo import PUBLISHED, find_weights

STATED = Stated("i3d_r50", (1, 1), 0, "embedded_gaussian", True, True)


class Malicious:
    """Creates a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.trace),))


def plain_pickle(evil: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": evil}}, protocol=2))


def torch_file(evil: Any, path: Path) -> None:
    torch.save(
        {"model_state": {"conv.weight": torch.zeros(3)}, "state_dict": {}, "videonl_weights": {}, "meta": evil}, path
    )


def old_torch_file(evil: Any, path: Path) -> None:
    torch.save({"model_state": {"conv.weight": evil}}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [plain_pickle, torch_file, old_torch_file])
@pytest.mark.parametrize("entry", [*get_args(Layout), "fit", "weights", "name"])
def test_code_does_not_run(tmp_path: Path, monkeypatch, entry: str, write: Callable[[Any, Path], None]) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    if entry == "name":
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        path = tmp_path / "hub" / "checkpoints" / PUBLISHED["kinetics400/i3d_r50"].url()[0].rpartition("/")[2]
        path.parent.mkdir(parents=True)
    write(Malicious(trace), path)
    readers = {
        "fit": load_trained,
        "weights": read_weights,
        "name": lambda path: find_weights("kinetics400/i3d_r50", ClipClassifier("i3d_r50", 7, width=4)),
    }
    read = readers.get(entry, lambda path: convert(path, entry, STATED))
    first_pickle_alone = entry in OF_ARRAYS and write is old_torch_file  # it is a number
    told = "this is not a checkpoint of" if first_pickle_alone else "holds code, which was not run"
    with pytest.raises(UserError, match=told):
        read(path)
    assert not trace.exists()


@pytest.mark.parametrize("write", [plain_pickle, torch_file, old_torch_file])
def test_the_attack_itself_is_sound(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    write(Malicious(tmp_path / "trace"), tmp_path / "evil.pth")
    if write is plain_pickle:
        pickle.loads((tmp_path / "evil.pth").read_bytes())
    else:
        torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "trace").is_dir()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x.npy'\ntR.",
        b"cnumpy.core.multiarray\nfrombuffer\n.",
        b"cnumpy\nndarray.tofile\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_names_that_are_no_parts_of_arrays_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(opcodes)
    with pytest.raises(UserError, match="holds code, which was not run"):
        read_arrays(path)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_arrays_of_every_protocol_are_read(tmp_path: Path, protocol: int, byte_order: str) -> None:
    array = np.arange(6, dtype=f"{byte_order}f4").reshape(2, 3)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": array, "lr": np.float32(3)}}, protocol=protocol))
    read = read_arrays(path)["blobs"]
    assert np.array_equal(read["conv1_w"], array)
    assert read["lr"] == 3


def test_python_2_strings_and_the_old_name_of_numpy(tmp_path: Path) -> None:
    # What cPickle of Python 2 wrote for {"blobs": {"a": numpy.array([1.5], dtype="<f4")}}.
    opcodes = (
        b"\x80\x02}q\x01U\x05blobsq\x02}q\x03U\x01aq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K"
        b"\x00\x85U\x01b\x87Rq\x07(K\x01K\x01\x85cnumpy\ndtype\nq\x08U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x00\xc0\x3ftbss."
    )
    path = tmp_path / "model.pkl"
    path.write_bytes(opcodes)
    assert read_arrays(path)["blobs"]["a"].tolist() == [1.5]


@pytest.mark.parametrize(
    "blob", ["text", np.array([None], dtype=object), np.array(["x"]), np.array([7]), 3.0], ids=repr
)
def test_blobs_that_are_no_arrays_of_floating_numbers_are_refused(tmp_path: Path, blob: Any) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"blobs": {"conv1_w": blob, "lr": 1.0}}, protocol=2))
    with pytest.raises(UserError, match="blob conv1_w is not an array of floating numbers"):
        convert(tmp_path / "model.pkl", "caffe2-nonlocal", STATED)


@pytest.mark.parametrize("content", [[], {"blobs": {}}, {"blobs": 3}, 5])
def test_a_pickle_without_blobs_is_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match="no arrays by name under 'blobs'"):
        convert(tmp_path / "model.pkl", "caffe2-nonlocal", STATED)


def test_advice_to_trust_the_file_is_not_passed_on(tmp_path: Path) -> None:
    torch_file(Malicious(tmp_path / "trace"), tmp_path / "evil.pth")
    with pytest.raises(UserError) as caught:
        convert(tmp_path / "evil.pth", "pytorchvideo")
    assert "weights_only" not in str(caught.value)
    assert "save its state_dict by itself" in str(caught.value)
