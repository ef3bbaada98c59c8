"""Parts that a user registered: a configuration lists their modules as ``imports``, and may then use short names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS
from videonl.cli.configuration import FLAGS
from videonl.data.sampling import SAMPLINGS
from videonl.errors import UserError
from videonl.registry import Registry, import_module_named

_REGISTRIES: dict[str, Registry[Any]] = {"backbone": BACKBONES, "block": BLOCKS, "sampling": SAMPLINGS}


def imports_of(content: Any, path: Path | str) -> list[str]:
    """The modules that a configuration has imported.

    Raises:
        UserError: ``imports`` is no list of names.
    """
    imports = content.get("imports", []) if isinstance(content, dict) else []
    imports = [imports] if isinstance(imports, str) else imports
    if not isinstance(imports, list) or not all(isinstance(name, str) for name in imports):
        raise UserError(f"configuration {path}: imports must be a list of modules such as [my_block], got {imports!r}")
    return imports


def with_parts_imported(words: Sequence[str]) -> list[str]:
    """Imports what expanded configurations list, and has them say dotted paths for the short names of users' parts.

    So a run's ``config.yaml`` and its checkpoints name what they need by themselves.

    Args:
        words: As :func:`videonl.cli.configuration.expand` returns them.
    """
    return [_imported(word) if word.startswith(f"{FLAGS[0]}=") else word for word in words]


def _imported(word: str) -> str:
    if "imports" not in word:
        return word
    flag, _, text = word.partition("=")
    content = yaml.safe_load(text)
    for module in imports_of(content, "imports"):
        import_module_named(module, "imports")
    content.pop("imports", None)
    return f"{flag}={yaml.safe_dump(_by_path(content), sort_keys=False)}"


def _by_path(content: Any) -> Any:
    if isinstance(content, list):
        return [_by_path(value) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: _REGISTRIES[key].stored_name(value) if key in _REGISTRIES and isinstance(value, str) else _by_path(value)
        for key, value in content.items()
    }
