"""Code in a pickle is found in files of every kind, by its name, and is not run."""

import argparse
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videonl.errors import UserError
from videonl.models.checkpoints import load_trained, read_weights
from videonl.models.conversion.checkpoint_io import read_arrays, read_torch
from videonl.pickles import code_in
from videonl.training.checkpoint_files import WholeCheckpoints

PLAIN = {
    "state_dict": OrderedDict(weight=torch.nn.Parameter(torch.ones(2)), sparse=torch.ones(2, 3).to_sparse()),
    "others": [torch.float16, torch.Size([5]), torch.zeros(3, dtype=torch.int8), {1, 2}, 3 + 5j, None, 7.0],
}


class Malicious:
    """Creates a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


WRITERS: dict[str, Callable[[object, Path], object]] = {
    "zip": torch.save,
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
}


def pickled(protocol: int) -> Callable[[object, Path], object]:
    return lambda content, path: path.write_bytes(pickle.dumps(content, protocol=protocol))


PICKLES = {f"pickle {protocol}": pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)}


@pytest.mark.parametrize("write", [*WRITERS.values(), *PICKLES.values()], ids=[*WRITERS, *PICKLES])
def test_code_is_named_and_not_run(write: Callable[[object, Path], object], tmp_path: Path) -> None:
    path = tmp_path / "file"
    write({"first": [np.ones((2, 3))], "then": Malicious(tmp_path / "trace")}, path)
    assert code_in(path) == "posix.mkdir"
    assert not (tmp_path / "trace").exists()
    write({"first": 1, "then": argparse.Namespace(lr=1)}, path)
    assert code_in(path) == "argparse.Namespace"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_tensors_are_no_code(write: Callable[[object, Path], object], tmp_path: Path) -> None:
    write(PLAIN, tmp_path / "file")
    assert code_in(tmp_path / "file") is None


@pytest.mark.parametrize("write", PICKLES.values(), ids=PICKLES)
def test_arrays_are_no_code(write: Callable[[object, Path], object], tmp_path: Path) -> None:
    write({"blobs": {"a": np.ones((2, 3)), "b": np.float32(3)}}, tmp_path / "file")
    assert code_in(tmp_path / "file") is None


@pytest.mark.parametrize(
    "read", [load_trained, read_weights, read_torch, read_arrays, WholeCheckpoints().load_checkpoint]
)
@pytest.mark.parametrize("write", [*WRITERS.values(), pickled(4)], ids=[*WRITERS, "pickle"])
def test_every_reader_says_that_it_holds_code(
    read: Callable[[Path], object], write: Callable[[object, Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "evil.ckpt"
    write({"state_dict": {"weight": [3.0]}, "extra": Malicious(tmp_path / "trace")}, path)
    if read is read_arrays and write is WRITERS["legacy"]:
        pytest.skip("its first pickle is a number, and no more than that is read")
    with pytest.raises(UserError, match=r"holds code, which was not run: .*posix\.mkdir") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value) and "damaged" not in str(caught.value)
    assert not (tmp_path / "trace").exists()


def test_no_option_has_a_checkpoint_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"extra": Malicious(tmp_path / "trace")}, path)
    with pytest.raises(UserError, match="not run"):
        WholeCheckpoints().load_checkpoint(path, weights_only=False)
    assert not (tmp_path / "trace").exists()
