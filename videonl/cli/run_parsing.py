"""The configuration that a subcommand of a run would have, before anything is built."""

from collections.abc import Sequence
from typing import Any, NoReturn

from videonl.cli.run import RunParser, VideonlCLI
from videonl.errors import UserError
from videonl.terminal import printable


class _ParseOnly(VideonlCLI):
    """Parses as ``fit`` does, and builds nothing."""

    def _set_seed(self) -> None:
        """Nothing is drawn."""

    def before_instantiate_classes(self) -> None:
        """No run is written to."""

    def instantiate_classes(self) -> None:
        """The data need not be there."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is trained."""


def parse_fit(arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration that ``videonl fit`` would have with the same arguments, as plain data."""
    config: dict[str, Any] = _ParseOnly(["fit", *arguments]).config["fit"].as_dict()
    return config


class _RefusingParser(RunParser):
    """A parser whose complaints are for its caller."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the message, on one line.

        Raises:
            UserError: Always.
        """
        raise UserError(printable(" ".join(message.split()))) from ex


class _CheckOnly(_ParseOnly):
    _parser_class = _RefusingParser


def check_run(subcommand: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration that a subcommand would have, as plain data, before anything is run.

    Args:
        subcommand: ``fit`` or ``test``.
        arguments: What follows it on the command line, expanded.

    Raises:
        UserError: Its parser does not take them; where ``videonl fit`` would print its usage and exit.
    """
    config: dict[str, Any] = _CheckOnly([subcommand, *arguments]).config[subcommand].as_dict()
    return config
