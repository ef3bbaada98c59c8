"""Tensors in a folder, by name: kept from one run to the next, and shared by runs at the same time."""

import hashlib
import io
import logging
import os
from pathlib import Path

import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.files import whole_file

logger = logging.getLogger(__name__)
_DIGEST_BYTES = 20


class KeptTensors:
    """A folder of tensors, which come back with the same bits and the same layout in memory.

    Each file is whole or not there. What cannot be read or written costs the time to compute it again and nothing else;
    a warning says so once.

    Args:
        folder: Is made where it is missing.
        max_bytes: From here on nothing more is kept. Processes that write at the same time may exceed it together.
    """

    def __init__(self, folder: Path, max_bytes: float) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._said: set[str] = set()
        self.measure()

    def measure(self) -> None:
        """Adds up what all processes have written."""
        entries = os.scandir(self.folder) if self.folder.is_dir() else ()
        self._num_bytes = sum(_size(entry) for entry in entries)

    def read(self, name: str, device: torch.device) -> Tensor | None:
        """The tensor of a name, or None where there is none or its file is damaged."""
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say_once("cannot read", f"{path}: {error.strerror}; computed anew")
            return None
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(data) != digest:
            self._say_once("damaged", f"{path} is damaged; computed anew and replaced")
            self._num_bytes -= len(content)
            return None
        tensor: Tensor = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        return tensor

    def write(self, name: str, tensor: Tensor) -> None:
        """Keeps a tensor under a name, if there is room."""
        written = io.BytesIO()
        torch.save(tensor.detach().cpu(), written)
        data = written.getvalue()
        if self._num_bytes + len(data) > self.max_bytes:
            full = f"{self.folder} has reached max_gb, {self.max_bytes / 1e9:g} GB; nothing more is kept there"
            self._say_once("full", full)
            return
        try:
            with whole_file(self.folder / name) as file:
                file.write(_digest(data) + data)
            self._num_bytes += len(data)
        except UserError as error:
            if not isinstance(error.__cause__, BlockingIOError):  # of another process that is writing the same
                self._say_once("cannot write", str(error))

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning("%s", message)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:  # another process has given it its name meanwhile
        return 0
