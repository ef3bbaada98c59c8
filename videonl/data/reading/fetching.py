"""Fetches bytes from a storage, and tries again where it fails for a moment."""

import logging
import random
import time
from typing import Any

from fsspec.core import url_to_fs

logger = logging.getLogger(__name__)
_TRIES = 6
_FIRST_WAIT_SECONDS = 0.25  # doubled each time: 8 seconds in all
_OF_A_MOMENT = (408, 425, 429)  # codes of HTTP, beside those from 500 on
# These stay as they are, however often one asks.
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError)
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
)
_jitter = random.Random()  # of its own: the global one belongs to the training


def fetch(url: str, start_bytes: int | None = None, end_bytes: int | None = None) -> bytes:
    """Reads a stretch of a file, or all of it.

    Failures that may pass, such as connections that are reset and codes from 500 on, are tried again 5 times within 8
    seconds.

    Args:
        url: A path or anything that fsspec opens.
        start_bytes: Where to begin.
        end_bytes: Where to end.

    Raises:
        OSError: It is gone, or the storage does not answer or asks for credentials.
    """
    tries = _TRIES if "://" in url else 1  # a disk that fails goes on failing
    for attempt in range(tries):
        try:
            return _fetch_once(url, start_bytes, end_bytes)
        except Exception as error:  # each kind of storage has errors of its own
            if _lasts(error) or tries == 1:
                raise OSError(why_not(error)) from error
            if attempt == tries - 1:
                raise OSError(f"{why_not(error)}; gave up after {tries} tries") from error
            logger.debug("%s: %s; trying again", url, error)
            time.sleep(_FIRST_WAIT_SECONDS * 2**attempt * _jitter.uniform(0.5, 1.5))
    raise AssertionError


def version_of(url: str) -> str:
    """What changes when the file at a URL does: its tag, time and size, of what the storage gives; one request.

    Raises:
        OSError: The storage does not answer, or gives no more than a size.
    """
    try:
        file_system, path = url_to_fs(url)
        known = file_system.info(path)
    except Exception as error:  # each kind of storage has errors of its own
        raise OSError(why_not(error)) from error
    if not any(known.get(name) for name in _VERSIONS):
        raise OSError(f"{url} has neither a tag nor a time that tell its versions apart")
    return repr([known.get(name) for name in (*_VERSIONS, "size")])


def why_not(error: Exception) -> str:
    """What a storage's error means, with what to do where credentials are missing or do not suffice."""
    reason = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError) and "exist" not in reason and error.strerror is None:
        return f"{reason} does not exist"  # some storages give the name alone
    if isinstance(error, PermissionError) or type(error).__name__ in _CREDENTIALS:
        return f"{reason}; the storage asks for credentials that allow this: see docs/distributed.md"
    return reason


def _fetch_once(url: str, start_bytes: int | None, end_bytes: int | None) -> bytes:
    file_system, path = url_to_fs(url)  # fsspec keeps one connection per process, and a new one after a fork
    stretch: dict[str, Any] = {} if start_bytes is None else {"start": start_bytes, "end": end_bytes}
    data: bytes = file_system.cat_file(path, **stretch)  # by name: s3fs has another argument before these
    return data


def _lasts(error: Exception) -> bool:
    status = getattr(error, "status", None)  # aiohttp's
    if isinstance(status, int):
        return status < 500 and status not in _OF_A_MOMENT
    return isinstance(error, _LASTING) or type(error).__name__ in _CREDENTIALS
