"""What a command says beside its result, on stderr."""

import logging
import os
import sys
import warnings

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


def set_up_messages() -> None:
    """Lets the package's own log through as text, and keeps back what a user can do nothing about."""
    from rich.logging import RichHandler

    from videonl.terminal import Console, filter_messages

    filter_messages()
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    logger = logging.getLogger("videonl")
    if not logger.handlers:
        logger.addHandler(RichHandler(console=Console(stderr=True), show_path=False))
    logger.setLevel(logging.INFO)


def print_error(message: str) -> None:
    """Says why a command ends, as text whatever the names in it hold."""
    from videonl.terminal import printable

    print(f"videonl: error: {printable(message)}", file=sys.stderr)
