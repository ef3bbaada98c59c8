"""Reads and writes safetensors files: named tensors, without code."""

from pathlib import Path

from torch import Tensor

from videonl.errors import UserError


def is_safetensors(path: Path) -> bool:
    """Whether a file is a safetensors file, by its header: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file, by name.

    Raises:
        UserError: The file is damaged.
    """
    # Imported here because most weights are in other formats.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{path} is a damaged safetensors file: {reason.split('. ')[0]}") from error


def safetensors_of(state: dict[str, Tensor]) -> bytes:
    """Serializes tensors as a safetensors file."""
    from safetensors.torch import save

    # Cloned because safetensors rejects tensors that share memory; values and dtypes are kept.
    return save({key: value.detach().cpu().contiguous().clone() for key, value in state.items()}, {"format": "pt"})
