"""Tensors in a folder, by name: kept from one run to the next, and shared by runs at the same time."""

import io

import torch
from torch import Tensor

from videonl.runtime.kept_files import KeptFiles


class KeptTensors(KeptFiles):
    """A folder of tensors, which come back with the same bits and the same layout in memory; see :class:`KeptFiles`."""

    def read_tensor(self, name: str, device: torch.device) -> Tensor | None:
        """The tensor of a name, or None where there is none or its file is damaged."""
        data = self.read(name)
        if data is None:
            return None
        tensor: Tensor = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        return tensor

    def write_tensor(self, name: str, tensor: Tensor) -> None:
        """Keeps a tensor under a name, if there is room."""
        written = io.BytesIO()
        torch.save(tensor.detach().cpu(), written)
        self.write(name, written.getvalue())
