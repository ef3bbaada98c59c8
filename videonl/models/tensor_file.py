"""Files of tensors alone, by name: safetensors, which have no place for code."""

from pathlib import Path

from torch import Tensor

from videonl.errors import UserError


def is_safetensors(path: Path) -> bool:
    """Whether a file is one of tensors alone, by its start: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Reads a file of tensors by name.

    Raises:
        UserError: When it is damaged.
    """
    # Imported here because most files are others.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{path} is a damaged safetensors file: {reason.split('. ')[0]}") from error


def safetensors_of(state: dict[str, Tensor]) -> bytes:
    """The bytes of such a file."""
    from safetensors.torch import save

    # Copies, as tensors that share memory are refused; their values and dtypes stay.
    return save({key: value.detach().cpu().contiguous().clone() for key, value in state.items()}, {"format": "pt"})
