"""A trained network as a program that runs without videonl: ONNX or torch.export, compared with the original."""

import io
import json
import warnings
from collections.abc import Callable
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from videonl.errors import UserError
from videonl.files import whole_path, write_text

Format = Literal["onnx", "torch-export"]


class Agreement(NamedTuple):
    """How far a program is from its network on one batch.

    Attributes:
        logits: The largest difference of logits, over the largest logit in size.
        probabilities: The largest difference of probabilities.
    """

    logits: float
    probabilities: float


class ProgramDiffersError(UserError):
    """A program was not kept, because its logits are further from the network's than the tolerance."""


ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Of the largest logit; float32 leaves a hundredth of it.
TOLERANCE = 1e-4
# Times what float32 rounds a network's logits by, a difference may still be rounding: where a softmax is saturated, one
# batch may meet a tie of two keys that another misses. Without one, all of it is within the tolerance.
_SEVERAL = 100
INPUT, FRAMES, OUTPUT = "clip", "frames", "logits"
MAX_BATCH = 2**31 - 1  # some limit must be named: torch 2.6 cannot trace an axis of any length


def export(
    network: nn.Module,
    clip: Tensor,
    path: Path,
    kind: Format,
    about: dict[str, Any],
    any_batch: bool,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Writes a network as a program, reads it back, runs it and compares it with the network.

    Args:
        network: In eval mode, on the CPU; it maps clips to logits.
        clip: Example of its input: normalized, (B, 3, T, H, W), or frames as uint8. The program takes this size, and
            with ``any_batch`` any number of clips.
        path: Where the program goes. It is not there unless the comparison passed.
        kind: ``onnx`` or ``torch-export``.
        about: Plain data that goes with it: inside the ONNX file, beside the other as ``path`` + ``.json``.
        any_batch: Leave the number of clips open.
        tolerance: How far the logits may differ, relative to the largest.

    Returns:
        How far the two are from each other.

    Raises:
        ProgramDiffersError: The two differ by more.
        UserError: Packages are missing, or the network cannot be expressed.
    """
    if kind == "onnx":
        _require_onnx()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporters speak of their own internals
        program = _trace(network, clip, any_batch)
        with whole_path(path) as unfinished:
            run = _write_onnx(program, unfinished, about) if kind == "onnx" else _write_torch(program, unfinished)
            # Another batch than the traced one, or a batch that was left open by mistake alone would pass.
            checked = drawn((len(clip) + 1 if any_batch else len(clip), *clip.shape[1:]), clip.dtype)
            agreement = _compare(run(checked), expected := network(checked))
            if not agreement.logits <= tolerance:
                raise ProgramDiffersError(_told(agreement, _rounding(network, checked, expected), tolerance))
    if kind == "torch-export":
        write_text(beside(path), json.dumps(about, indent=2) + "\n")
    return agreement


def beside(path: Path) -> Path:
    """The file of class names and clip format that goes with a program of torch.export."""
    return path.with_name(f"{path.name}.json")


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A random input of a network: clips of normal numbers, or frames of any pixels."""
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, dtype=dtype)
    return torch.randn(shape, dtype=dtype)


def _trace(network: nn.Module, clip: Tensor, any_batch: bool) -> torch.export.ExportedProgram:
    # A batch of one would be taken for a batch that is always one.
    example = torch.cat([clip, clip]) if any_batch and len(clip) == 1 else clip
    open_axes: Any = ({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},) if any_batch else None
    try:
        return torch.export.export(network, (example,), dynamic_shapes=open_axes)
    except Exception as error:
        raise UserError(f"this network cannot be exported by torch.export: {_reason(error)}") from error


def _write_torch(program: torch.export.ExportedProgram, path: Path) -> Callable[[Tensor], Tensor]:
    written = io.BytesIO()  # in memory first: where its file cannot grow, torch aborts the process
    torch.export.save(program, written)
    path.write_bytes(written.getbuffer())
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda clip: module(clip)


def _write_onnx(program: torch.export.ExportedProgram, path: Path, about: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    name = FRAMES if program.example_inputs[0][0].dtype == torch.uint8 else INPUT
    try:
        converted = torch.onnx.export(
            program, (), dynamo=True, verbose=False, input_names=[name], output_names=[OUTPUT], external_data=False
        )
    except Exception as error:
        raise UserError(
            f"this network cannot be exported to ONNX ({_reason(error)}); use --format torch-export. Among videonl's "
            "blocks, this concerns the non-local block with pairwise: concatenation"
        ) from error
    assert converted is not None
    converted.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    converted.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda clip: torch.from_numpy(session.run([OUTPUT], {name: clip.numpy()})[0])


def _compare(found: Tensor, expected: Tensor) -> Agreement:
    if found.shape != expected.shape:
        raise UserError(f"the exported program returns {tuple(found.shape)}, the network {tuple(expected.shape)}")
    probabilities = (found.double().softmax(dim=-1) - expected.double().softmax(dim=-1)).abs().max()
    return Agreement(_relative(found, expected), float(probabilities))


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny))


def _rounding(network: nn.Module, clip: Tensor, logits: Tensor) -> float:
    """How far the network's logits are from those of float64, relative to the largest."""
    return _relative(logits, deepcopy(network).double()(clip.double() if clip.is_floating_point() else clip))


def _told(agreement: Agreement, rounding: float, tolerance: float) -> str:
    own = f"in float32 the network itself differs from float64 by {rounding:.1e}"
    explained = agreement.logits <= _SEVERAL * rounding
    return (
        f"the exported program differs from the network by {agreement.logits:.1e} of the largest logit, which is more "
        f"than {tolerance:.1e}, and by {agreement.probabilities:.1e} in the probabilities; it was not kept. "
        + (f"Rounding explains it: {own}" if explained else f"This is more than rounding: {own}")
        + ". To keep the file anyway, raise --tolerance"
    )


def _require_onnx() -> None:
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"--format onnx needs {', '.join(missing)}: pip install 'videonl[export]'")


def _reason(error: BaseException) -> str:
    """The innermost cause: exporters wrap it in advice to their developers."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return next(iter(str(error).splitlines()), "") or type(error).__name__
