"""Published weights by name, from the sites of the libraries that publish them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from videonl.backbones.quiet_import import quiet_import
from videonl.errors import UserError
from videonl.models.checkpoints import read_weights
from videonl.models.class_names import class_names
from videonl.models.classifier import ClipClassifier
from videonl.models.conversion import Layout, Stated, convert_content
from videonl.models.conversion.pytorchvideo_hub import HUB
from videonl.models.hub import is_hub_name
from videonl.models.published_i3d import address, find_i3d
from videonl.models.weights import Weights
from videonl.pickles import refusal_of_code


@dataclass(frozen=True)
class Published:
    """Where weights are stored.

    Attributes:
        layout: Whose names they have.
        url: Looks up their address in the installed library, which alone knows it, and the names of their classes.
        stated: What the file does not say.
        hashed: Whether the file's name tells its hash.
        find: Finds them, if that takes more than torch.hub.
    """

    layout: Layout
    url: Callable[[], tuple[str, list[str]]]
    stated: Stated
    hashed: bool = True
    find: Callable[[str], Weights] | None = None


def find_weights(name: str, classifier: ClipClassifier) -> Weights:
    """Weights by path or name.

    Args:
        name: A file of ``videonl convert`` or ``videonl fit``, the folder of a run or of ``videonl share``,
            ``hf://user/name``, or a published name such as ``kinetics400/i3d_r50``.
        classifier: The network they are meant for: image weights are inflated to it.

    Raises:
        UserError: When there is neither such a file nor such a name, or the download fails.
    """
    if is_hub_name(name) or Path(name).exists():
        return read_weights(name)
    if name in PUBLISHED:
        return download(name, classifier)
    raise UserError(f"model.weights {name} is neither a file nor a known name; known names are: {', '.join(PUBLISHED)}")


def download(name: str, classifier: ClipClassifier | None = None) -> Weights:
    """Published weights through torch.hub, which keeps them in its cache.

    Args:
        name: One of ``PUBLISHED``.
        classifier: The network they are meant for, which weights of images are inflated to.

    Raises:
        UserError: When they are not in the cache and cannot be downloaded, or are of images and no network is given.
    """
    published = PUBLISHED[name]
    if classifier is None and name.startswith("imagenet/"):
        videos = ", ".join(other for other in PUBLISHED if not other.startswith("imagenet/"))
        raise UserError(f"{name} classifies images, not videos; these classify videos: {videos}")
    if published.find is not None:
        return published.find(name)
    url, names = published.url()
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        content = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=published.hashed, weights_only=True
        )
    except Exception as error:  # of the network, the disk, or a damaged file
        missing = (
            f"{name} could not be downloaded ({next(iter(str(error).splitlines()), type(error).__name__)}); without "
            f"internet, put the file of {url} at {cached}"
        )
        raise UserError(refusal_of_code(cached) or missing) from error
    stated = published.stated
    if classifier is not None and name.startswith("imagenet/"):
        stated = replace(stated, backbone=classifier.settings["backbone"])
    weights = convert_content(content, published.layout, stated, name)
    if classifier is not None and name.startswith("imagenet/"):
        assert weights.network is not None
        # Images say nothing of strides in time, so the network keeps its own.
        weights.network["backbone_options"] = classifier.settings["backbone_options"]
    return replace(weights, class_names=names)


def _of_pytorchvideo(name: str) -> tuple[str, list[str]]:
    with quiet_import():
        from pytorchvideo.models.hub import csn, r2plus1d, resnet, slowfast, x3d

    known = [module.checkpoint_paths for module in (resnet, slowfast, x3d, csn, r2plus1d)]
    return next(paths[name] for paths in known if name in paths), class_names("kinetics400")


def _of_torchvision(name: str, weights: str) -> tuple[str, list[str]]:
    from torchvision.models import get_model_weights

    entry: Any = get_model_weights(name)[weights]
    return entry.url, list(entry.meta["categories"])


PUBLISHED = {
    **{
        f"kinetics400/{name}": Published("pytorchvideo", partial(_of_pytorchvideo, name), Stated(), hashed=False)
        for name in ("c2d_r50", "i3d_r50", "slow_r50")
    },
    **{
        # Three of them have weights of the same shapes, and each is of another clip.
        f"kinetics400/{name}": Published("pytorchvideo", partial(_of_pytorchvideo, name), Stated(name), hashed=False)
        for name in HUB
    },
    **{
        f"kinetics400/{name}": Published("torchvision", partial(_of_torchvision, name, "KINETICS400_V1"), Stated())
        for name in ("r3d_18", "mc3_18", "r2plus1d_18", "s3d")
    },
    "kinetics400/i3d_inception": Published("i3d-inception", address, Stated(), find=find_i3d),
    **{
        f"imagenet/{name}": Published("torchvision", partial(_of_torchvision, name, "IMAGENET1K_V1"), Stated())
        for name in ("resnet50", "resnet101")
    },
}
