"""``python -m videonl`` is the ``videonl`` command."""

from videonl.cli.main import entry_point

entry_point()
