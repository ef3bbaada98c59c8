"""Loads a trained network from a file, a folder, the Hub or a published name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch

from videonl.errors import UserError
from videonl.models.checkpoints import Trained, load_trained, trained_of
from videonl.models.class_names import class_names
from videonl.models.hub import is_hub_name
from videonl.models.zoo import PUBLISHED, download

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]


def find_trained(
    source: str | Path, classes: str | Path | Sequence[str] | None = None, trust_code: bool = False
) -> Trained:
    """A trained network from a file, a run, a shared folder, or a published name.

    Args:
        source: A checkpoint of ``videonl fit``, the folder of a run (its best checkpoint), converted weights with a
            classifier, a folder of ``videonl share``, ``hf://user/name``, or a published name such as
            ``kinetics400/i3d_r50``.
        classes: Names for the classes: a list of them, a file, or a published list such as ``kinetics400``.
        trust_code: Allow the file to run any code as its network; only for files you trust.

    Raises:
        UserError: There is no such network, or it has another number of classes.
    """
    trained = _find(source, trust_code)
    if classes is None:
        return trained
    return trained.named(class_names(classes) if isinstance(classes, str | Path) else list(classes))


def _find(source: str | Path, trust_code: bool) -> Trained:
    name, path = str(source), Path(source).expanduser()
    if is_hub_name(source) or path.exists():
        return load_trained(source, trust_code)
    if name in PUBLISHED:
        return trained_of(download(name), name, trust_code)
    if not path.suffix:
        known = ", ".join(each for each in PUBLISHED if not each.startswith("imagenet/"))
        raise UserError(
            f"{name} is not a checkpoint, a folder of a run or of videonl share, an hf://user/name, or a published "
            f"name; these are: {known}"
        )
    return load_trained(source, trust_code)


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The type of the numbers that a network computes with; ``auto`` is float32, which the figures are measured in.

    Raises:
        UserError: There is no such precision, or not on this device.
    """
    if precision not in get_args(Precision):
        raise UserError(f"unknown precision {precision!r}; choose one of {', '.join(get_args(Precision))}")
    if precision == "float16" and device.type == "cpu":
        raise UserError("float16 is for GPUs; on the CPU choose float32 or bfloat16")
    dtype: torch.dtype = getattr(torch, "float32" if precision == "auto" else precision)
    return dtype
