"""The ``videonl`` command."""
