"""pytorchvideo, imported where it is needed, without its warnings and without torchvision."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_USER = "pytorchvideo.models.head"  # the only part of its models that names torchvision: for heads that detect


@contextmanager
def quiet_import() -> Iterator[None]:
    """For imports of pytorchvideo within functions: they take a second, and naming a backbone should not."""
    with warnings.catch_warnings(), _torchvision_postponed():
        # It decorates functions with torch.jit.script, which current torch deprecates; nothing here calls them.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated")
        yield


@contextmanager
def _torchvision_postponed() -> Iterator[None]:
    """Lets ``from torchvision.ops import RoIAlign`` take nothing: torchvision brings torch's compiler, for seconds."""
    if "torchvision" in sys.modules or _USER in sys.modules:
        yield
        return
    package, ops = ModuleType("torchvision"), ModuleType("torchvision.ops")
    vars(ops)["RoIAlign"] = _roi_align
    stand_ins = {"torchvision": package, "torchvision.ops": ops}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)


def _roi_align(*arguments: Any, **options: Any) -> Any:
    """Torchvision's ``RoIAlign``, imported when one is built."""
    from torchvision.ops import RoIAlign

    return RoIAlign(*arguments, **options)
