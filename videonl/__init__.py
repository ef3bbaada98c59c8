"""videonl: spacetime attention in 3D CNNs for action recognition."""

from typing import Any

# The front door: where its names live. They are imported when they are first used, for torch takes seconds.
_BLOCKS = (
    "AsymmetricFusion",
    "AsymmetricPyramid",
    "Axial",
    "CrissCross",
    "GC",
    "GlobalContext",
    "NonLocal",
    "SE",
    "SNL",
)
_NAMES = {
    **dict.fromkeys(_BLOCKS, "videonl.blocks"),
    "ClipClassifier": "videonl.models",
    "Insertion": "videonl.models",
    "Model": "videonl.inference",
    "Prediction": "videonl.inference",
    "Timeline": "videonl.inference",
    "VideoReader": "videonl.data.reading.decoding",
    "insert": "videonl.models",
    "load": "videonl.inference",
    "open_video": "videonl.data.reading.decoding",
    "register_backbone": "videonl.backbones",
    "register_block": "videonl.blocks",
    "register_sampling": "videonl.data.sampling",
    "register_source": "videonl.data.sources.own",
    "synth": "videonl.data.synthetic",
}
__all__ = ["__version__", *_NAMES]  # the names of __getattr__ below


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _NAMES:
        raise AttributeError(f"module 'videonl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _version() -> str:
    # Imported late, as all here: `python -m videonl` reads this file before it can leave the working folder
    # (__main__.py), in which the many modules that this needs would be looked for first.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("videonl")
    except PackageNotFoundError:  # running from a source tree that is not installed
        return "0+source"
