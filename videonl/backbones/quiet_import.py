"""pytorchvideo, imported where it is needed, without its warnings and without torchvision."""

import builtins
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, SimpleNamespace
from typing import Any

_USER = "pytorchvideo.models.head"  # the only part of its models that names torchvision: for heads that detect
_POSTPONED = "torchvision.ops"


@contextmanager
def quiet_import() -> Iterator[None]:
    """For imports of pytorchvideo within functions: they take a second, and naming a backbone should not."""
    with warnings.catch_warnings(), _torchvision_postponed():
        # It decorates functions with torch.jit.script, which current torch deprecates; nothing here calls them.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated")
        yield


@contextmanager
def _torchvision_postponed() -> Iterator[None]:
    """Keeps the one import of torchvision in pytorchvideo from bringing torch's compiler, which takes seconds."""
    if "torchvision" in sys.modules or _USER in sys.modules:
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finds that part alone: what other threads import meanwhile, torchvision too, is as ever."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The part, to be run with an ``import`` of its own."""
        found = PathFinder.find_spec(fullname, path) if fullname == _USER else None
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin)
        return found


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        """Runs the module."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(name: str, *arguments: Any, **options: Any) -> Any:
    """As ``from torchvision.ops import RoIAlign`` calls it, and every other import."""
    if name == _POSTPONED:
        return SimpleNamespace(RoIAlign=_roi_align)
    return builtins.__import__(name, *arguments, **options)


def _roi_align(*arguments: Any, **options: Any) -> Any:
    """Torchvision's ``RoIAlign``, imported when one is built."""
    from torchvision.ops import RoIAlign

    return RoIAlign(*arguments, **options)
