"""``videonl export``: a network as a program that runs without videonl."""

from dataclasses import replace
from pathlib import Path

import torch

from videonl.cli.progress import status
from videonl.cli.refusals import require_at_least
from videonl.data.loader import MOST_CLIPS
from videonl.data.transforms import ClipFormat
from videonl.diagnostics.saturation import measure_softmax, saturation
from videonl.errors import MOST_FRAMES, MOST_PIXELS, UserError
from videonl.inference.loading import find_trained
from videonl.inference.preprocessing import WithPreprocessing
from videonl.models import ClipClassifier
from videonl.models.export import TOLERANCE, Format, ProgramDiffersError, beside, drawn
from videonl.models.export import export as export_network
from videonl.models.locating import weights_file
from videonl.outputs import check_file
from videonl.profiling import require_clip
from videonl.terminal import Console


def export(
    checkpoint: Path,
    format: Format,
    out: Path,
    num_frames: int | None = None,
    size_px: int | None = None,
    batch_size: int | None = None,
    tolerance: float = TOLERANCE,
    with_preprocessing: bool = False,
    frame_height_px: int | None = None,
    frame_width_px: int | None = None,
    trust_code: bool = False,
) -> None:
    """Writes a network as ONNX or as a torch.export program, runs it, and compares it with the original.

    The program takes normalized clips, float32 (batch, 3, frames, size, size), or with preprocessing decoded frames,
    uint8 RGB (batch, frames, height, width, 3), and returns logits. Class names, mean, std and the rest of the clip
    format are the metadata of the ONNX file, or a JSON file beside the program.

    Args:
        checkpoint: A checkpoint, the folder of a run or of ``videonl share``, converted weights, ``hf://user/name``, or
            a published name such as kinetics400/i3d_r50.
        format: ``onnx`` needs the extra ``export``.
        out: The file to write. It is kept only if its logits agree with the network's.
        num_frames: Frames of a clip; by default as in training.
        size_px: Height and width of a clip; by default as in training.
        batch_size: A fixed number of clips per batch; by default any number.
        tolerance: Largest difference of the logits, relative to the largest logit.
        with_preprocessing: Put the preprocessing into the program, which then takes uint8 frames: crops, which it
            normalizes, or whole frames of one size, which it resizes and crops too, to the bit as videonl does.
        frame_height_px: Height of whole frames.
        frame_width_px: Width of whole frames.
        trust_code: Run any code that the checkpoint names; only for files that you trust.
    """
    require_at_least(1, MOST_FRAMES, num_frames=num_frames)
    require_at_least(1, MOST_PIXELS, size_px=size_px)
    require_at_least(1, MOST_CLIPS, batch_size=batch_size)
    require_at_least(0, 1, tolerance=tolerance)
    require_at_least(1, MOST_PIXELS, frame_height_px=frame_height_px, frame_width_px=frame_width_px)
    frame_px = _frame_size(with_preprocessing, frame_height_px, frame_width_px)
    console = Console()
    outputs = [out, beside(out)] if format == "torch-export" else [out]
    for path in outputs:
        check_file(path, [weights_file(checkpoint)])
    trained = find_trained(checkpoint, trust_code=trust_code)
    check_file(out, num_bytes=sum(weight.nbytes for weight in trained.network.parameters()))
    clip = ClipFormat(**trained.clip)
    require_clip(trained.network, (num_frames or clip.num_frames, size_px or clip.crop_px, size_px or clip.crop_px))
    shape = (batch_size or 1, 3, num_frames or clip.num_frames, size_px or clip.crop_px, size_px or clip.crop_px)
    clip = replace(clip, num_frames=shape[2], crop_px=shape[3], short_side_px=max(clip.short_side_px, shape[3]))
    network: torch.nn.Module = trained.network
    given = "clip: float32 (batch, 3, frames, height, width), RGB, (pixel / 255 - mean) / std"
    example = torch.randn(shape)
    if with_preprocessing:
        network = preprocessing = WithPreprocessing(trained.network, clip, frame_px).eval()
        given = f"frames: uint8 (batch, frames, height, width, 3), RGB, {'whole' if frame_px else 'cropped'}"
        example = drawn((shape[0], shape[2], preprocessing.height_px, preprocessing.width_px, 3), torch.uint8)
    about = {"class_names": trained.class_names, "clip": vars(clip), "input": given}
    with status("exporting and comparing"):
        try:
            agreement = export_network(network, example, out, format, about, batch_size is None, tolerance)
        except ProgramDiffersError as error:
            raise UserError(f"{error}.{_saturated(trained.network, torch.randn(shape))}") from error
    sizes = f"({batch_size or 'any number'}, {', '.join(map(str, example.shape[1:]))})"
    console.print(
        f"{out}: {'frames' if with_preprocessing else 'clips'} {sizes} to {len(trained.class_names)} logits",
        soft_wrap=True,
        highlight=False,
    )
    console.print(
        f"largest difference from the network: {agreement.logits:.1e} of the largest logit, "
        f"{agreement.probabilities:.1e} in the probabilities",
        soft_wrap=True,
        highlight=False,
    )


def _frame_size(with_preprocessing: bool, height_px: int | None, width_px: int | None) -> tuple[int, int] | None:
    if height_px is None and width_px is None:
        return None
    if not with_preprocessing or height_px is None or width_px is None:
        raise UserError(
            "--frame_height_px and --frame_width_px go together, with --with_preprocessing: the size of whole frames"
        )
    return height_px, width_px


def _saturated(network: ClipClassifier, clips: torch.Tensor) -> str:
    """Sentences that name the blocks that amplify rounding."""
    softmaxes = measure_softmax(network, network.blocks, clips)
    texts = {name: saturation(softmax.num_read, softmax.affinity) for name, softmax in softmaxes.items()}
    return "".join(f" Block {name} {text}." for name, text in texts.items() if text)
