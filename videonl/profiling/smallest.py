"""Which clips are too small for a network."""

import logging

import torch
from torch import nn

from videonl.errors import UserError
from videonl.profiling.imitation import Imitation, imitate, norms_as_shapes

MOST_TRIED = 128  # frames
_AMPLE_PX = 512
Clip = tuple[int, int, int]


def require_clip(network: nn.Module, clip: Clip) -> None:
    """Refuses a clip that is too small for a network, such as for a pool over two frames; by shapes alone.

    Networks that cannot be run by shapes alone pass.

    Args:
        network: Maps clips (B, 3, T, H, W) to logits. It may be on the meta device.
        clip: (T, H, W).

    Raises:
        UserError: Naming the least number of frames, or of pixels, or of both, that does.
    """
    failures = logging.getLogger("torch._subclasses.fake_tensor")  # it reports each clip that does not fit
    level = failures.level
    failures.setLevel(logging.CRITICAL)
    eager = torch.compiler.set_stance("force_eager")
    with imitate(network) as imitation, norms_as_shapes(network), torch.no_grad(), eager:
        try:
            if (reason := _refusal(imitation, clip)) is None:
                return
            least_frames = _least_frames(imitation, clip)
            least_px = None if least_frames else _least_side(imitation, clip)
            least_both = None if least_frames or least_px else _least_of_both(imitation, clip)
        finally:
            failures.setLevel(level)
    if least_frames:
        raise UserError(f"num_frames must be at least {least_frames} for this network, got {clip[0]} ({reason})")
    if least_px:
        raise UserError(f"crop_px must be at least {least_px} for this network, got {min(clip[1:])} ({reason})")
    if least_both:
        raise UserError(
            f"num_frames must be at least {least_both[0]}, and crop_px at least {least_both[1]}, for this network, got "
            f"{clip[0]} and {min(clip[1:])} ({reason})"
        )


def _least_frames(imitation: Imitation, clip: Clip) -> int | None:
    tried = range(clip[0] + 1, MOST_TRIED + 1)
    return next((frames for frames in tried if _refusal(imitation, (frames, *clip[1:])) is None), None)


def _least_side(imitation: Imitation, clip: Clip) -> int | None:
    """The least power of two of pixels that does."""
    tried = (2**power for power in range(3, 10) if 2**power > min(clip[1:]))
    return next((side for side in tried if _refusal(imitation, (clip[0], side, side)) is None), None)


def _least_of_both(imitation: Imitation, clip: Clip) -> tuple[int, int] | None:
    """The fewest frames with the least power of two of pixels that do, where neither does alone."""
    ample = (clip[0], _AMPLE_PX, _AMPLE_PX)
    least_frames = _least_frames(imitation, ample)
    if least_frames is None:
        return None
    least_px = _least_side(imitation, (least_frames, *clip[1:]))
    return None if least_px is None else (least_frames, least_px)


def _refusal(imitation: Imitation, clip: Clip) -> str | None:
    try:
        imitation.run((1, 3, *clip))
    except Exception as error:  # whatever a foreign network raises
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None
