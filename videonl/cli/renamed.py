"""Names that version 0.1 had for options, which configurations and command lines may still use."""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

_OPTIONS = {"model.optimisation": "model.optimization", "data.augmentation.colour": "data.augmentation.color"}
_VALUES = {("model.network.init_args.batch_norm", "synchronised"): "synchronized"}
# Options of the commands that take no configuration of a training.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "bench": {"batch": "batch_size", "clips": "num_clips", "frames": "num_frames", "size": "size_px"},
    "compare": {"videos": "num_videos"},
    "demo": {"clips": "source", "dir": "out"},
    "diagnose": {"clips": "num_clips", "index": "source", "queries": "num_queries"},
    "doctor": {"output": "out"},
    "evaluate": {
        "clips": "num_clips",
        "crops": "num_crops",
        "index": "source",
        "mistakes": "num_mistakes",
        "time_limit_seconds": "time_limit",
    },
    "export": {"batch": "batch_size", "frames": "num_frames", "size": "size_px"},
    "index": {"output": "out", "timeout_seconds": "time_limit"},
    "prepare": {"output": "out", "short_side": "short_side_px", "timeout_seconds": "time_limit"},
    "report": {"mistakes": "num_mistakes"},
}
_OUT_IS_POSITIONAL = ("prepare", "synth")
_NONE: Mapping[str, str] = MappingProxyType({})
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


def rename_command_keys(command: str, content: dict[str, Any], place: str) -> None:
    """As :func:`rename_keys`, for a file of the options of one command."""
    for old, new in RENAMED.get(command, _NONE).items():
        if old in content:
            content[new] = content.pop(old)
            _log.info("%s: %s is named %s now", place, old, new)


def rename_words(command: str, words: Sequence[str]) -> list[str]:
    """A command line as the parsers take it: options with underscores, and with the names that they have now.

    >>> rename_words("index", ["a-b.csv", "-o", "x-y.parquet", "--timeout-seconds=7"])
    ['a-b.csv', '--out', 'x-y.parquet', '--time_limit=7']
    >>> rename_words("fit", ["--model.optimisation.lr=0.1", "--model.optimisation", "--run.save-every-steps"])
    ['--model.optimization.lr=0.1', '--model.optimization', '--run.save_every_steps']
    >>> rename_words("prepare", ["-o", "small", "index.parquet", "--crf", "18"])
    ['index.parquet', '--crf', '18', 'small']
    """
    renamed = [_renamed(command, word) for word in words]
    return _out_last(renamed) if command in _OUT_IS_POSITIONAL else renamed


def _out_last(words: list[str]) -> list[str]:
    """The value of ``--out`` as the last of the arguments without a name, for commands that require it."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--out" and (equals or place + 1 < len(words)):
            after = place + 1 if equals else place + 2
            return [*words[:place], *words[after:], value if equals else words[place + 1]]
    return words


def _renamed(command: str, word: str) -> str:
    name, equals, value = word.partition("=")
    if name == "-o":
        return f"--out{equals}{value}"
    if not name.startswith("--"):
        return word
    name = name[2:].replace("-", "_")
    for old, new in RENAMED.get(command, _OPTIONS).items():
        rest = name.removeprefix(old)
        if rest != name and rest[:1] in ("", "."):
            _log.info("--%s is named --%s now", old, new)
            name = f"{new}{rest}"
            break
    return f"--{name}{equals}{value}"


def _at(content: dict[str, Any], path: str) -> dict[str, Any] | None:
    section: Any = content
    for key in path.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else None
