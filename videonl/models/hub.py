"""The Hugging Face Hub: networks that somebody has put there, and one's own to put there."""

import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from videonl.errors import UserError

# One slash, where somebody made a Path of the name.
_NAME = re.compile(r"hf:/{1,2}(?P<id>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?/?")
_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(source: object) -> bool:
    """Whether something is named as ``hf://user/name`` or ``hf://user/name@revision``.

    >>> is_hub_name("hf://ann/tennis@v2"), is_hub_name(Path("hf://ann/tennis")), is_hub_name("ann/tennis")
    (True, True, False)
    """
    return str(source).startswith("hf:/")


def spelled(source: object) -> str:
    """The name with both of its slashes, of which a Path keeps one."""
    return re.sub(r"^hf:/+", "hf://", str(source))


def download(source: object, files: Sequence[str]) -> Path:
    """Some files of a published network, in the Hub's cache: offline, what is there counts.

    Args:
        source: As ``hf://user/name`` or ``hf://user/name@revision``.
        files: Names of the files; nothing else is downloaded.

    Returns:
        Their folder.

    Raises:
        UserError: There is no such network, or it cannot be downloaded and is not in the cache.
    """
    match = _NAME.fullmatch(str(source))
    if match is None:
        raise UserError(f"{source} names no network of the Hub; write hf://user/name, or hf://user/name@revision")
    hub = _hub(str(source))
    try:
        return Path(_api(hub).snapshot_download(match["id"], revision=match["revision"], allow_patterns=list(files)))
    except Exception as error:  # of the network, the Hub, or the disk
        reason = _reason(error)
        raise UserError(f"hf://{match['id']} is not in the cache and could not be downloaded ({reason})") from error


def require_hub(name: str) -> None:
    """Refuses what cannot be the name of a repository, or be uploaded for want of a package.

    Raises:
        UserError: Saying what to write, or to install.
    """
    if not _ID.fullmatch(name):
        raise UserError(f"--push {name} is not the name of a repository; write user/name")
    _hub(f"--push {name}")


def upload(folder: Path, name: str, files: Sequence[str], private: bool) -> str:
    """Uploads files of a folder to a repository, which is created if needed.

    Returns:
        Its address.

    Raises:
        UserError: There is no token, or the Hub cannot be reached or refuses.
    """
    hub = _hub(f"--push {name}")
    kept = f"{folder} is written; the same command uploads it later"
    if hub.get_token() is None:
        raise UserError(
            f"{name} was not uploaded: no token of the Hub is known; run `hf auth login`, or set HF_TOKEN. {kept}"
        )
    try:
        api = _api(hub)
        api.create_repo(name, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(files), commit_message="Share a network of videonl"
        )
    except Exception as error:  # of the network, the Hub, or the disk
        raise UserError(f"{name} was not uploaded ({_reason(error)}). {kept}") from error
    return f"{api.endpoint}/{name}"


def _api(hub: Any) -> Any:
    return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="videonl")


def _hub(what: str) -> Any:
    if find_spec("huggingface_hub") is None:
        raise UserError(f"{what} needs huggingface_hub: pip install 'videonl[hub]'")
    import huggingface_hub

    return huggingface_hub


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
