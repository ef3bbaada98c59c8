"""The parser of command lines."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from types import NoneType
from typing import Any, NoReturn, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader
from yaml import YAMLError

from videonl.errors import UserError
from videonl.terminal import printable

_WORDS = "words"  # how values are read
_log = logging.getLogger(__name__)


class Parser(ArgumentParser):
    """A parser whose switches need no value, and whose lists take any number of words, each as it is written.

    Its complaints, which quote what files and names hold, are printed as text.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, parser_mode=_WORDS)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message and exits with code 2."""
        super().error(printable(message), ex)

    def parse_args(  # type: ignore[override]  # jsonargparse has its own, too
        self, args: Sequence[str], namespace: Namespace | None = None, **options: Any
    ) -> Namespace:
        """Parses a command line; an option that counts but once and is given again is named."""
        words = self._spelled(args)
        given = Counter(name for name, equals, _ in (word.partition("=") for word in words) if name.startswith("--"))
        for name, count in given.items():
            if count > 1 and name != "--config" and not name.endswith("+"):
                _log.warning("%s is given %d times: the last one counts", name, count)
        return super().parse_args(words, namespace, **options)

    def _spelled(self, words: Sequence[str]) -> list[str]:
        """The words as jsonargparse takes them.

        >>> parser = Parser()
        >>> for name, kind in (("json", bool), ("query", list[str])):
        ...     _ = parser.add_argument(f"--{name}", type=kind)
        >>> parser._spelled(["--json", "--query", "[x]", "y", "--json", "False", "no", "--query"])
        ['--json=true', '--query+=["[x]"]', '--query+=["y"]', '--json=false', 'no', '--query+=[""]']
        """
        spelled: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            name, equals, value = word.partition("=")
            kind = getattr(self._option_string_actions.get(name), "_typehint", None)
            if kind is bool and not equals:
                is_value = rest[:1] and rest[0].lower() in ("true", "false")
                spelled.append(f"{name}={rest.pop(0).lower() if is_value else 'true'}")
            elif get_origin(kind) is list and "." not in name:  # parts of a setting are written as in YAML
                values = [value] if equals else list(takewhile(lambda value: not value.startswith("--"), rest))
                del rest[: 0 if equals else len(values)]
                spelled += [f"{name}+={json.dumps([value])}" for value in values or [""]]
            else:
                spelled.append(word)
        return spelled


def require_values(parser: ArgumentParser, config: Namespace) -> None:
    """Refuses null for settings that have no such value, as an empty line of YAML is; jsonargparse passes it on.

    Raises:
        UserError: Naming the setting.
    """
    for action in parser._actions:
        name = action.dest
        if config.get(name, "") is None and not _takes_none(parser, action):
            raise UserError(f"{name} must have a value, but is null, as an empty line is; give one, or remove the line")


def _takes_none(parser: ArgumentParser, action: Any) -> bool:
    kind = getattr(action, "_typehint", None)
    if kind is None:  # of a group of settings, or of a file
        return parser.get_defaults().get(action.dest) is None
    return kind is Any or NoneType in get_args(kind)


def _load(text: str) -> Any:
    """Reads a value as YAML, but a list that was spelled as JSON as that: YAML takes no names that are not UTF-8."""
    if text.startswith('["'):
        with suppress(json.JSONDecodeError):
            return json.loads(text)
    return get_loader("yaml")(text)


set_loader(_WORDS, _load, (YAMLError,))
