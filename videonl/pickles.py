"""What a pickle would call, found without calling it."""

import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

# All that tensors, arrays and plain data are made of, by the names that torch.save and numpy 1 and 2 write.
_PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|complex|object)"
    r"|copy_?reg\._reconstructor"  # goes before the name of a class
    r"|torch\.((cuda|sparse)\.)*(\w*(Tensor|Storage)|Size|device|bool|[a-z]+\d\w*)|torch\.storage\.(Unt|T)ypedStorage"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.nn\.parameter\.Parameter"
    r"|torch\.serialization\._get_layout|numpy\.(ndarray|dtype)|numpy\._?core\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)"
)
_LEGACY_PICKLES = 4  # that torch.save wrote one after the other, before it wrote zip archives


def code_in(path: Path) -> str | None:
    """The first thing beyond tensors, arrays and plain data that loading a file would call; nothing is called.

    Args:
        path: A pickle, or a file of ``torch.save``.

    Returns:
        Its dotted name, such as ``posix.system``; None for a file that calls nothing, or is no pickle at all.
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return _first_call(file)
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith("data.pkl")]
            return next(filter(None, (_first_call(archive.open(member)) for member in members)), None)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError):  # damaged: it cannot be loaded at all
        return None


def refusal_of_code(path: Path) -> str | None:
    """The error for a file that could not be loaded because of code in it; None if it holds none."""
    call = code_in(path)
    return call and (
        f"{path} holds code, which was not run: loading all of it would call {call}, and only weights and plain data "
        "are read. If you trust the file, load it where it was written and save its state_dict by itself"
    )


def _first_call(file: IO[bytes]) -> str | None:
    reader = _Looking(file, encoding="latin1")
    try:
        for _ in range(_LEGACY_PICKLES):
            reader.load()
    except _CodeError as code:
        return str(code)
    except Exception:  # a file of any bytes may break the unpickler in any way
        return None
    return None


class _CodeError(Exception):
    """The name of something that a pickle would call."""


class _Inert:
    """Stands for a tensor or an array, and takes whatever a pickle does to these."""

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass


class _Looking(pickle.Unpickler):
    """Unpickles into stand-ins alone, up to the first name that is not of plain data."""

    def find_class(self, module: str, name: str) -> Any:
        if not _PLAIN.fullmatch(f"{module}.{name}"):
            raise _CodeError(f"{module}.{name}")
        return OrderedDict if name == "OrderedDict" else _Inert

    def persistent_load(self, _: Any) -> Any:
        return _Inert()
