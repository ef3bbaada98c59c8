"""Writes files to a storage: whole, or not at all."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

from videonl.data.reading.fetching import facts_of, fetch, insistently
from videonl.data.reading.url_path import UrlPath

_BLOCK_BYTES = 8 * 2**20


def store(content: Path | bytes, target: UrlPath) -> None:
    """Writes a file of this machine, or bytes, to a URL, where all of it appears at once; until then an old one stays.

    A large file goes in parts, which a storage puts together in the end (multipart upload), and lets go of after an
    error. Only those of a process that was killed stay there, unseen, until a rule of the bucket removes them.

    Raises:
        OSError: The storage does not answer, refuses, or has another size afterwards.
    """

    def write(storage: Any, path: str) -> None:
        source = content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
        with source, storage.transaction, storage.open(path, "wb") as sink:
            shutil.copyfileobj(source, sink, _BLOCK_BYTES)

    insistently(target.url, write)
    num_bytes = content.stat().st_size if isinstance(content, Path) else len(content)
    stored_bytes = facts_of(target.url)[0]
    if stored_bytes != num_bytes:
        raise OSError(f"{target} has {stored_bytes} bytes instead of {num_bytes}")


def remove(target: UrlPath) -> None:
    """Removes the file at a URL, if there is one.

    Raises:
        OSError: The storage does not answer, or refuses.
    """

    def delete(storage: Any, path: str) -> None:
        if storage.exists(path):
            storage.rm_file(path)

    insistently(target.url, delete)


def read_json(file: UrlPath) -> Any:
    """What a JSON file at a URL holds; None where there is none.

    Raises:
        OSError: The storage does not answer, or refuses, or the file is damaged.
    """
    try:
        return json.loads(fetch(file.url))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise OSError(f"{file} is no whole JSON ({error})") from error
