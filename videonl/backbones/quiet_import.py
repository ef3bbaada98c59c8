"""pytorchvideo, imported where it is needed and without its warnings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_import() -> Iterator[None]:
    """For imports of pytorchvideo within functions: they take a second, and naming a backbone should not."""
    with warnings.catch_warnings():
        # It decorates functions with torch.jit.script, which current torch deprecates; nothing here calls them.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.*is deprecated")
        yield
