"""Fetches bytes from a storage, and tries again where it fails for a moment."""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import fsspec
from fsspec.core import url_to_fs

from videonl.errors import UserError

logger = logging.getLogger(__name__)
_TRIES = 6
_FIRST_WAIT_SECONDS = 0.25  # doubled each time: 8 seconds in all
_GONE = (404, 410)  # codes of HTTP, as are these:
_OF_A_MOMENT = (408, 425, 429)  # beside those from 500 on
# These stay as they are, however often one asks.
_LASTING = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ImportError, ValueError, NotImplementedError),
)
_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError")
# By these, S3, Google Cloud Storage, Azure and servers of HTTP tell the versions of a file apart.
_VERSIONS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "Content-MD5",
    "Last-Modified",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
)
NOT_FETCHED = "cannot be fetched"
"""How it begins why a file at a URL could not be read."""
_OUTAGE = 16  # files in a row that cannot be fetched
_STRETCH_BYTES = 64 * 2**20
Result = TypeVar("Result")
_jitter = random.Random()  # of its own: the global one belongs to the training


def fetch(url: str, start_bytes: int | None = None, end_bytes: int | None = None) -> bytes:
    """Reads a stretch of a file, or all of it.

    Args:
        url: A path or anything that fsspec opens.
        start_bytes: Where to begin.
        end_bytes: Where to end.

    Raises:
        OSError: As :func:`insistently`.
    """
    stretch: dict[str, Any] = {} if start_bytes is None else {"start": start_bytes, "end": end_bytes}

    def read(file_system: Any, path: str) -> bytes:
        data: bytes = file_system.cat_file(path, **stretch)  # by name: s3fs has another argument before these
        return data

    return insistently(url, read)


def insistently(url: str, work: Callable[[Any, str], Result], **options: Any) -> Result:
    """Asks a storage for something.

    Failures that may pass, such as connections that are reset and codes from 500 on, are tried again 5 times within 8
    seconds.

    Args:
        url: A path or anything that fsspec opens.
        work: Is called with the file system and the path there.
        options: For the file system.

    Raises:
        FileNotFoundError: It is gone.
        OSError: The storage does not answer, or asks for credentials, or its package is not installed.
    """
    tries = _TRIES if "://" in url else 1  # a disk that fails goes on failing
    for attempt in range(tries):
        try:
            # fsspec keeps one connection per process, and a new one after a fork.
            return work(*url_to_fs(url, **_options_of(url), **options))
        except Exception as raised:  # each kind of storage has errors of its own
            error = _cause(raised, url)
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else OSError
            if _lasts(error) or tries == 1:
                raise kind(why_not(error)) from error
            if attempt == tries - 1:
                raise OSError(f"{why_not(error)}; gave up after {tries} tries") from error
            logger.debug("%s: %s; trying again", url, error)
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt * _jitter.uniform(0.5, 1.5))
    raise AssertionError


def stretches(url: str, size_bytes: int) -> Iterator[bytes]:
    """The bytes of a file in stretches that fit into memory.

    Raises:
        OSError: As :func:`insistently`; or it has another size now.
    """
    if size_bytes <= _STRETCH_BYTES:
        yield _of_size(fetch(url), size_bytes, url)
        return
    for start_bytes in range(0, size_bytes, _STRETCH_BYTES):
        end_bytes = min(start_bytes + _STRETCH_BYTES, size_bytes)
        yield _of_size(fetch(url, start_bytes, end_bytes), end_bytes - start_bytes, url)


def _of_size(data: bytes, num_bytes: int, url: str) -> bytes:
    if len(data) != num_bytes:
        raise OSError(f"{url} has changed since it was listed: {len(data)} bytes came instead of {num_bytes}")
    return data


def facts_of(url: str) -> tuple[int, str]:
    """The size of the file at a URL, and its version as :func:`version_in` has it; one request.

    Raises:
        FileNotFoundError: It is gone, or is a folder.
        OSError: The storage does not answer, or gives no size.
    """
    known = insistently(url, lambda file_system, path: file_system.info(path))
    if known.get("type") == "directory":
        raise FileNotFoundError(f"{url} is a folder")
    if known.get("size") is None:
        raise OSError(f"the storage does not say how large {url} is")
    return int(known["size"]), version_in(known)


def version_in(known: Mapping[str, Any]) -> str:
    """What changes when a file does, of what a storage says of it: its tag, or else its time; empty without either."""
    found = next((known[name] for name in _VERSIONS if known.get(name)), "")
    return str(found.timestamp() if isinstance(found, datetime) else found).strip('"')


def version_of(url: str) -> str:
    """What changes when the file at a URL does; one request.

    Raises:
        OSError: The storage does not answer, or has neither tags nor times.
    """
    size_bytes, version = facts_of(url)
    if not version:
        raise OSError(f"{url} has neither a tag nor a time that tell its versions apart")
    return f"{version} {size_bytes}"


class Outage:
    """Ends work that has no use while a storage does not answer: one file after the other would fail in vain."""

    def __init__(self) -> None:
        self._num_in_a_row = 0

    def see(self, reason: str) -> None:
        """Notes why the next file failed; empty where it did not.

        Raises:
            UserError: Many in a row could not be fetched.
        """
        self._num_in_a_row = self._num_in_a_row + 1 if reason.startswith(NOT_FETCHED) else 0
        if self._num_in_a_row == _OUTAGE:
            raise UserError(
                f"{_OUTAGE} files in a row {reason}. What is done is kept; repeat the command to resume. To go on "
                "without such files, list the others"
            )


def why_not(error: Exception) -> str:
    """What a storage's error means, with what to do where credentials are missing or do not suffice."""
    reason = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError) and "exist" not in reason and error.strerror is None:
        return f"{reason} does not exist"  # some storages give the name alone
    if isinstance(error, ImportError):
        return f"{reason}: pip install 'videonl[shards]'"
    if isinstance(error, NotImplementedError):
        return "this kind of storage cannot do that"
    if isinstance(error, PermissionError) or type(error).__name__ in _CREDENTIALS:
        return f"{reason}; the storage asks for credentials that allow this: see docs/distributed.md"
    return reason


def _cause(error: Exception, url: str) -> Exception:
    """For fsspec, a file is not found also where a web server refuses to say anything of it, or does not answer."""
    cause = error.__cause__
    is_other = isinstance(error, FileNotFoundError) and url.startswith(("http://", "https://"))
    return cause if is_other and isinstance(cause, Exception) and getattr(cause, "status", 0) not in _GONE else error


def _options_of(url: str) -> dict[str, Any]:
    """S3's package would make five tries of each of ours, for a minute in all; unless the user has set how many."""
    is_set = "AWS_MAX_ATTEMPTS" in os.environ or "config_kwargs" in fsspec.config.conf.get("s3", {})
    return {"config_kwargs": {"retries": {"max_attempts": 0}}} if url.startswith("s3://") and not is_set else {}


def _lasts(error: Exception) -> bool:
    status = getattr(error, "status", None)  # aiohttp's
    if isinstance(status, int):
        return status < 500 and status not in _OF_A_MOMENT
    return isinstance(error, _LASTING) or type(error).__name__ in _CREDENTIALS
