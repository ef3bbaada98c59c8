"""videonl: spacetime attention in 3D CNNs for action recognition."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("videonl")
except PackageNotFoundError:  # running from a source tree that is not installed
    __version__ = "0+source"
