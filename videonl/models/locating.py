"""Which file holds the network that somebody names."""

from pathlib import Path

from videonl.errors import UserError
from videonl.models.hub import download, is_hub_name, spelled
from videonl.models.sharing import READ, WEIGHTS, is_shared

_IN_RUN = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")


def weights_file(source: str | Path) -> Path:
    """The file that holds a network's weights.

    Args:
        source: A file; the folder of a run, whose best checkpoint is meant; a folder of ``videonl share``; or
            ``hf://user/name``, which is downloaded unless it is cached.

    Returns:
        The file; for anything else ``source`` itself, which may be a published name.

    Raises:
        UserError: A folder holds no network, or the Hub has none of that name.
    """
    if is_hub_name(source):
        return download(source, READ) / WEIGHTS
    path = Path(source).expanduser()
    if not path.is_dir():
        return path
    if is_shared(path):
        return path / WEIGHTS
    for name in _IN_RUN:
        if (path / name).is_file():
            return path / name
    missing = " and no ".join((*_IN_RUN, WEIGHTS))
    raise UserError(f"{path} holds no trained network: it has no {missing}")


def name_of(source: str | Path) -> str:
    """What to call a network in messages: the file, the shared folder, or the name on the Hub."""
    if is_hub_name(source):
        return spelled(source)
    path = weights_file(source)
    return str(path.parent if is_in_shared(path) else path)


def is_in_shared(file: Path) -> bool:
    """Whether a weights file lies in a folder of ``videonl share``."""
    return file.name == WEIGHTS
