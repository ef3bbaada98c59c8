"""What is compared with what: each block, and the plain implementations beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from videonl.benchmarks import plain
from videonl.blocks import GC, SE, SNL, AsymmetricFusion, AsymmetricPyramid, AttentionBlock, Axial, CrissCross, NonLocal
from videonl.errors import UserError

FRAME_SIDE = 28  # positions along height and width of a frame, as res3 of a 224-pixel crop has
Pairwise = Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"]
PAIRWISE: tuple[Pairwise, ...] = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")


def _nonlocal(channels: int, pairwise: Pairwise, subsample: bool) -> AttentionBlock:
    return NonLocal(channels, pairwise=pairwise, subsample=subsample)


BUILDERS: dict[str, Callable[[int], AttentionBlock]] = {
    **{pairwise: partial(_nonlocal, pairwise=pairwise, subsample=False) for pairwise in PAIRWISE},
    **{f"{pairwise}_subsampled": partial(_nonlocal, pairwise=pairwise, subsample=True) for pairwise in PAIRWISE},
    "apnb": AsymmetricPyramid,
    "afnb": AsymmetricFusion,  # here it reads its own features, so that the grids are of one size
    "criss_cross": CrissCross,
    "axial": Axial,
    "snl": SNL,
    "gc": GC,
    "se": SE,
}
FORMS: dict[str, plain.PlainForm] = {
    "matrix": plain.matrix,
    "pairs": plain.pairs,
    "pooled_bins": plain.pooled_bins,
    "masked_matrix": plain.masked_matrix,
    "as_written": plain.as_written,
}


@dataclass(frozen=True)
class Implementation:
    """A block and how it is computed.

    Attributes:
        block: A name of ``BUILDERS``.
        form: ``ours``, or a name of ``FORMS``.
    """

    block: str
    form: str = "ours"

    def build(self, channels: int) -> AttentionBlock:
        """The block with weights, past its initialization: at a gamma of 0 all mathematics would agree."""
        generator = torch.Generator().manual_seed(0)
        block = BUILDERS[self.block](channels)
        with torch.no_grad():
            for parameter in block.parameters():
                # Logits are then around 1: softmax weights neither uniform nor of a single key.
                std = 0.125 if parameter.ndim > 1 else 0.5
                parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
        return block

    def __call__(self, block: AttentionBlock, x: Tensor) -> Tensor:
        """Computes the block's output in this form."""
        if self.form == "ours":
            y: Tensor = block(x)
            return y
        return FORMS[self.form](block, x)


@dataclass(frozen=True)
class Case:
    """One row of the comparison.

    Attributes:
        name: A block, or ``BLOCK_vs_PEER``.
        group: The block that ``--blocks`` selects it by.
        ours: Our implementation.
        plain: The plain one beside it.
        peer: What that one is, in words.
    """

    name: str
    group: str
    ours: Implementation
    plain: Implementation
    peer: str

    @property
    def same_mathematics(self) -> bool:
        """Whether both compute the same numbers, which is then checked before anything is timed."""
        return self.plain.block == self.ours.block


def grid_of(positions: int) -> tuple[int, int, int]:
    """A grid (T, H, W) of so many positions: frames of 28 x 28, or else one frame as square as can be.

    >>> grid_of(6272), grid_of(35)
    ((8, 28, 28), (1, 5, 7))
    """
    if positions % FRAME_SIDE**2 == 0:
        return positions // FRAME_SIDE**2, FRAME_SIDE, FRAME_SIDE
    height = max(side for side in range(1, int(positions**0.5) + 1) if positions % side == 0)
    return 1, height, positions // height


def select_cases(names: Sequence[str]) -> list[Case]:
    """The cases of some blocks, or single cases by name; all of them when no name is given.

    Raises:
        UserError: For an unknown name, listing those that there are.
    """
    groups = list(dict.fromkeys(case.group for case in CASES))
    for name in names:
        if name not in groups and name not in [case.name for case in CASES]:
            raise UserError(f"unknown block {name!r}; the blocks are: {', '.join(groups)}")
    return [case for case in CASES if not names or case.group in names or case.name in names]


def _nonlocal_cases(pairwise: str) -> list[Case]:
    cases = []
    for block, keys in ((pairwise, "N x N"), (f"{pairwise}_subsampled", "N x M")):
        form, peer = ("pairs", f"2Ci x {keys} tensor") if pairwise == "concatenation" else ("matrix", f"{keys} matrix")
        cases.append(Case(block, pairwise, Implementation(block), Implementation(block, form), peer))
        if pairwise == "concatenation":
            matrix = Implementation(block, "matrix")
            cases.append(Case(f"{block}_vs_broadcast", pairwise, Implementation(block), matrix, f"{keys} broadcast"))
    return cases


def _linear_cases(block: str, form: str, peer: str) -> list[Case]:
    """A block beside its own plain form, and beside the embedded Gaussian that it is cheaper than."""
    gaussian = Implementation("embedded_gaussian", "matrix")
    return [
        Case(block, block, Implementation(block), Implementation(block, form), peer),
        Case(f"{block}_vs_embedded_gaussian", block, Implementation(block), gaussian, "embedded Gaussian, N x N"),
    ]


CASES = [
    *(case for pairwise in PAIRWISE for case in _nonlocal_cases(pairwise)),
    *_linear_cases("apnb", "pooled_bins", "pooling after projection"),
    *_linear_cases("afnb", "pooled_bins", "pooling after projection"),
    *_linear_cases("criss_cross", "masked_matrix", "masked N x N matrix"),
    *_linear_cases("axial", "masked_matrix", "masked N x N matrix"),
    *_linear_cases("snl", "as_written", "step by step"),
    *_linear_cases("gc", "as_written", "step by step"),
    *_linear_cases("se", "as_written", "step by step"),
]
