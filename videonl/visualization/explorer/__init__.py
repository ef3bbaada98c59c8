"""One self-contained page in which any position of a clip can be asked what it attends to."""

from videonl.visualization.explorer.page import Source, write_explorer

__all__ = ["Source", "write_explorer"]
