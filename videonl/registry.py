"""Parts by name: built-in ones, ones that a user registers, and any other by its dotted path."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from videonl.errors import UserError

Part = TypeVar("Part")


class Registry(dict[str, Part]):
    """What configurations may name: short names and what they stand for.

    Args:
        kind: What the parts are, for messages: ``block``.
        parts: The built-in ones.

    Examples:
        >>> shapes = Registry("shape", {"round": complex})
        >>> @shapes.register("square")
        ... class Square: ...
        >>> sorted(shapes), shapes.find("fractions.Fraction")
        (['round', 'square'], <class 'fractions.Fraction'>)
        >>> shapes.find("x")
        Traceback (most recent call last):
        videonl.errors.UserError: unknown shape 'x'; the shapes are: round, square, or a dotted path like my_file.Name
    """

    def __init__(self, kind: str, parts: Mapping[str, Part] | None = None) -> None:
        super().__init__(parts or {})
        self.kind = kind
        self._own: set[str] = set()  # names that users registered

    def register(self, name: str) -> Callable[[Part], Part]:
        """A decorator that gives a part a short name.

        Args:
            name: The name, without dots: these tell a dotted path. A module that is imported again replaces its own.

        Raises:
            UserError: The name has a dot, or another part has it.
        """
        if not name or "." in name:
            raise UserError(f"a {self.kind} cannot be registered as {name!r}: give a name without dots")

        def add(part: Part) -> Part:
            if name in self and _path(self[name]) != _path(part):
                raise UserError(f"there is a {self.kind} {name!r} already ({_path(self[name])}); choose another name")
            self[name] = part
            if not _is_ours(getattr(part, "__module__", "")):
                self._own.add(name)
            return part

        return add

    def find(self, name: str) -> Part:
        """A part by its short name or its dotted path; importing the latter runs its module.

        Raises:
            UserError: There is none; the message lists the names.
        """
        if name in self:
            return self[name]
        if "." not in name:
            raise UserError(
                f"unknown {self.kind} {name!r}; the {self.kind}s are: {', '.join(sorted(self))}, or a dotted path "
                "like my_file.Name"
            )
        found: Part = import_path(name, self.kind)
        return found

    def stored_name(self, name: str) -> str:
        """What a checkpoint or another process finds the part by: its dotted path where it is a user's own.

        >>> Registry("number", {"half": 0.5}).stored_name("half")
        'half'
        """
        return _path(self[name]) if self.is_own(name) and self[name].__module__ != "__main__" else name

    def is_own(self, name: str) -> bool:
        """Whether a user registered the name."""
        return name in self._own

    def is_trusted(self, name: str) -> bool:
        """Whether a name leads to code of videonl, and so may stand in a stranger's file."""
        return name in self and not self.is_own(name)


def import_module_named(name: str, asker: str) -> ModuleType:
    """Imports a module that a user names.

    Args:
        name: ``my_block``, ``package.module``.
        asker: Who names it, for messages.

    Raises:
        UserError: It cannot be imported, or is no module's name.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated")  # pytorchvideo's
            return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{asker}: the module {name!r} cannot be imported ({error}). Put a module of your own beside "
            "the configuration that names it, or add its folder to PYTHONPATH"
        ) from error
    except (TypeError, ValueError) as error:  # a path with empty parts
        raise UserError(f"{asker}: {name!r} is not the name of a module such as package.module") from error


def import_path(path: str, kind: str) -> Any:
    """Imports what a dotted path names.

    Args:
        path: ``package.module.name``.
        kind: What it is for, for messages.

    Raises:
        UserError: Naming the part that does not exist.
    """
    module_path, _, name = path.rpartition(".")
    if not all(path.split(".")) or not module_path:
        raise UserError(f"{kind} {path!r} is not a dotted path such as package.module.name")
    module = import_module_named(module_path, f"{kind} {path}")
    found = getattr(module, name, None)
    if found is None:
        raise UserError(f"{kind} {path}: the module {module_path!r} has no {name!r}")
    return found


def _path(part: object) -> str:
    return f"{getattr(part, '__module__', '?')}.{getattr(part, '__qualname__', repr(part))}"


def _is_ours(module: str) -> bool:
    return module == "videonl" or module.startswith("videonl.")
