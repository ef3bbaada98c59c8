"""``python -m videonl`` is the ``videonl`` command, and this file is it too."""

import os
import sys

if __name__ == "__main__":
    # Before anything else is imported: Python looks in the working folder first, or beside this file, for modules of
    # the standard library too, and would run a random.py there.
    package = os.path.dirname(os.path.abspath(__file__))
    if sys.path[0] in ("", os.getcwd(), package):
        del sys.path[0]
    sys.path.append(os.path.dirname(package))  # last: it may be the working folder, when videonl is not installed
    __spec__ = None  # who starts this command again shall run the file, not -m

    from videonl.cli.main import entry_point

    entry_point()
