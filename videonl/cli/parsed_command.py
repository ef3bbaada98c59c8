"""Running a command whose options are those of a function, or that parses its words itself."""

from importlib import import_module
from typing import Any

from videonl.cli.commands import Command
from videonl.cli.renamed import rename_command_keys


def run_command(name: str, command: Command, words: list[str]) -> None:
    """Runs one; its modules are imported now."""
    components: Any = getattr(import_module(f"videonl.cli.{command.module}"), command.function)
    if command.parses:
        components(words)
        return
    from jsonargparse import auto_cli

    from videonl.cli.configuration import expand
    from videonl.cli.parsing import Parser

    prog = f"videonl {name}"
    if isinstance(components, dict) and words[:1] and words[0] in components:
        prog, components, words = f"{prog} {words[0]}", components[words[0]], words[1:]
    words = expand(words, lambda path, content: rename_command_keys(name, content, str(path)))
    auto_cli(components, args=words, as_positional=command.positional, prog=prog, parser_class=Parser)
