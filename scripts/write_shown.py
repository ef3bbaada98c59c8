"""Writes what the command line shows without importing torch: the help of every command, the list of networks.

    python scripts/write_shown.py

Run it when an option or its text changes, or a backbone or a block; the tests say so.
"""

import json
import os

from videonl.cli.described import describe
from videonl.cli.written import COLUMNS, FOLDER, FORMS, NETWORKS, file_of, parsed_help

if __name__ == "__main__":
    os.environ["COLUMNS"] = str(COLUMNS)
    FOLDER.mkdir(exist_ok=True)
    for form in FORMS:
        file_of(*form).write_text(parsed_help(*form), encoding="utf-8")
    NETWORKS.write_text(json.dumps(describe(), indent=1) + "\n", encoding="utf-8")
