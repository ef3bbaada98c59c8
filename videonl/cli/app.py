"""``videonl app --checkpoint CKPT``: a page to try a network in a browser."""

import importlib.util
import logging
import os
import socket
import threading
from pathlib import Path

from videonl.cli.refusals import require_at_least
from videonl.data.transforms import MOST_VIEWS
from videonl.errors import UserError
from videonl.inference import Model
from videonl.inference.loading import Precision, find_trained

_log = logging.getLogger(__name__)
_MOST_PORT = 65535


def app(
    checkpoint: Path,
    port: int = 7860,
    host: str = "127.0.0.1",
    num_clips: int = 3,
    classes: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    trust_code: bool = False,
) -> None:
    """Serves a page on this machine: drop a video or use the camera, see classes, timeline, attention and evidence.

    Args:
        checkpoint: A checkpoint of videonl fit, the folder of a run, converted weights, or a published name such as
            kinetics400/i3d_r50.
        port: Where the page is served.
        host: The address to listen at. 0.0.0.0 lets everybody in the network use the page.
        num_clips: Clips, evenly spaced in time, whose scores are averaged for the top classes.
        classes: Names of the classes where the checkpoint has none: a file with one name per line, or kinetics400,
            kinetics600, kinetics700.
        device: cpu, cuda, cuda:1; auto takes the GPU where there is one.
        precision: float32, bfloat16, or float16 on a GPU; auto is float32.
        trust_code: Allow the checkpoint to run any code; only for files you trust.
    """
    require_at_least(1, _MOST_PORT, port=port)
    require_at_least(1, MOST_VIEWS, num_clips=num_clips)
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs Gradio: pip install 'videonl[app]'")
    _require_free(host, port)
    # Before Gradio is imported, which reads them once.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    from videonl.app.page import build_page, serve

    model = Model(find_trained(checkpoint, classes, trust_code), device, precision)
    page = build_page(model, num_clips)
    try:
        address = serve(page, host, port)
        _log.info("%s: open %s in a browser; Ctrl-C ends it", checkpoint, address)
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def _require_free(host: str, port: int) -> None:
    """Refuses an address that cannot be listened at, before a network is loaded."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise UserError(f"cannot serve at {host}:{port} ({error.strerror}); take another --port or --host") from error
