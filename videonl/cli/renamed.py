"""Names that version 0.1 had for options, which configurations and command lines may still use."""

import logging
from typing import Any

_OPTIONS = {"model.optimisation": "model.optimization", "data.augmentation.colour": "data.augmentation.color"}
_VALUES = {("model.network.init_args.batch_norm", "synchronised"): "synchronized"}
_log = logging.getLogger(__name__)


def rename_keys(content: dict[str, Any], place: str) -> None:
    """Renames what has another name now, in place, and says so.

    >>> content = {"model": {"optimisation": {"lr": 0.1}, "network": {"init_args": {"batch_norm": "synchronised"}}}}
    >>> rename_keys(content, "old.yaml")
    >>> content
    {'model': {'network': {'init_args': {'batch_norm': 'synchronized'}}, 'optimization': {'lr': 0.1}}}

    Args:
        content: A configuration.
        place: Where it stands, for the message.
    """
    for old, new in _OPTIONS.items():
        above, _, key = old.rpartition(".")
        section = _at(content, above)
        if section is not None and key in section:
            section[new.rpartition(".")[2]] = section.pop(key)
            _log.info("%s: %s is named %s now", place, old, new)
    for (option, old), new in _VALUES.items():
        above, _, key = option.rpartition(".")
        section = _at(content, above)
        if section is not None and section.get(key) == old:
            section[key] = new
            _log.info("%s: %s of %s is named %s now", place, old, option, new)


def rename_flag(word: str) -> str:
    """A word of a command line, with the name that its option has now.

    >>> rename_flag("--model.optimisation.lr=0.1"), rename_flag("--model.optimisation"), rename_flag("--data.root")
    ('--model.optimization.lr=0.1', '--model.optimization', '--data.root')
    """
    for old, new in _OPTIONS.items():
        rest = word.removeprefix(f"--{old}")
        if rest != word and rest[:1] in ("", ".", "="):
            _log.info("--%s is named --%s now", old, new)
            return f"--{new}{rest}"
    return word


def _at(content: dict[str, Any], path: str) -> dict[str, Any] | None:
    section: Any = content
    for key in path.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else None
