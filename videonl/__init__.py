"""videonl: spacetime attention in 3D CNNs for action recognition."""


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for.

    ``python -m videonl`` imports this file before it can leave the working folder (``__main__.py``), in which the many
    modules that the lookup needs would be looked for first.
    """
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("videonl")
    except PackageNotFoundError:  # running from a source tree that is not installed
        return "0+source"
