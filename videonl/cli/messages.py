"""What a command says beside its result, on stderr."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence

# Warnings of Lightning's that are of no use here, as regular expressions.
NOISE = (
    ".*LeafSpec.*is deprecated",  # it was written for an older torch
    "Checkpoint directory .* exists and is not empty",  # so it is when a run is resumed, and nothing is overwritten
    "The dirpath has changed from",  # a checkpoint may be evaluated in another folder
    "Grad strides do not match bucket view strides",  # of 1x1x1 kernels, whose memory formats are one and the same
    "Precision .* is not supported by the model summary",  # the size it prints is that of the float32 weights
    "Total length of `list` across ranks is zero",  # there are no validation videos
    "predict returned None",  # the scores are collected beside Lightning's predictions
    "Found .* module\\(s\\) in eval mode at the start of training",  # norms that are frozen or affine
    "You're using the WeightAveraging callback with a model that overrides",  # ours shards nothing there
    "You're using the WeightAveraging callback, but loading a checkpoint outside",  # to test averaged weights
    "You are using a custom batch sampler `EvaluationBatchSampler`",  # it returns every video once; the tests count
)


class PlainLines(logging.Handler):
    """Writes each message to stderr as it is, unwrapped; a warning begins with ``warning:``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes to the stderr of the moment, which a progress bar may have taken over."""
        level = record.levelname.lower()
        start = f"{level}: " if record.levelno >= logging.WARNING else ""
        try:
            print(f"{start}{self.format(record)}", file=sys.stderr, flush=True)
        except (OSError, ValueError):  # nobody listens any more
            self.handleError(record)


def split_verbose(words: Sequence[str]) -> tuple[list[str], bool]:
    """The words without ``--verbose``, and whether it was among them.

    >>> split_verbose(["--config", "a.yaml", "--verbose"])
    (['--config', 'a.yaml'], True)
    >>> split_verbose(["--verbose", "false", "--html"])
    (['--html'], False)
    """
    left, rest, verbose = [], list(words), False
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word != "--verbose":
            left.append(f"{word}{equals}{value}")
            continue
        if not equals and rest and rest[0].lower() in ("true", "false"):
            value = rest.pop(0)
        verbose = value.lower() != "false"
    return left, verbose


def set_up_messages(verbose: bool = False) -> None:
    """Lets the package's own log through as plain lines.

    Args:
        verbose: Let through what the libraries say too, of which a user can do nothing about most.
    """
    from videonl.terminal import filter_messages

    filter_messages(brief=not verbose)
    if not verbose:
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    logger = logging.getLogger("videonl")
    if not logger.handlers:
        logger.addHandler(PlainLines())
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


def is_verbose() -> bool:
    """Whether this command lets through what the libraries say."""
    return logging.getLogger("videonl").getEffectiveLevel() <= logging.DEBUG


def set_up_lightning() -> None:
    """Keeps back what Lightning says beside its warnings; to be called once it is imported, which sets its levels."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.INFO if is_verbose() else logging.WARNING)


def print_error(message: str) -> None:
    """Says why a command ends, as text whatever the names in it hold."""
    from videonl.terminal import printable

    print(f"videonl: error: {printable(message)}", file=sys.stderr)
