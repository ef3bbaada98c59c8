"""Renames weights of public non-local blocks to our names.

Sources: AlexHex7, Non-local_pytorch; facebookresearch, SlowFast (``nonlocal_helper.py``).
"""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor

from videonl.blocks.nonlocal_block import NonLocal
from videonl.blocks.options import require_known

Naming = Literal["alexhex7", "pyslowfast"]

# A projection that is followed by a pool is number 0 of a sequence there.
PUBLIC_MODULES: dict[Naming, dict[str, str]] = {
    "alexhex7": {
        "theta": "theta",
        "phi": "phi",
        "phi.0": "phi",
        "g": "g",
        "g.0": "g",
        "W": "out",
        "W.0": "out",
        "W.1": "norm",
    },
    "pyslowfast": {"conv_theta": "theta", "conv_phi": "phi", "conv_g": "g", "conv_out": "out", "bn": "norm"},
}


def rename_public(weights: Mapping[str, Tensor], naming: Naming) -> tuple[dict[str, Tensor], list[str]]:
    """Renames the weights of one public non-local block.

    Args:
        weights: By key within the block, such as ``W.0.weight``.
        naming: Whose block: ``alexhex7`` (options ``pool_order="post"``) or ``pyslowfast`` (``pool_order="pre"``, and
            ``scale=True`` for its softmax form).

    Returns:
        The weights by our key, and the keys that have no counterpart.

    Examples:
        >>> import torch
        >>> renamed, left_over = rename_public({"W.0.bias": torch.ones(3), "sub.bias": torch.ones(3)}, "alexhex7")
        >>> list(renamed), left_over
        (['out.bias'], ['sub.bias'])
    """
    require_known(get_args(Naming), naming=naming)
    renamed, left_over = {}, []
    for key, weight in weights.items():
        module, _, name = key.rpartition(".")
        if key == "concat_project.0.weight" and naming == "alexhex7":
            renamed["concat"] = weight.flatten()  # (1, 2 * Ci, 1, 1), theta before phi
        elif module in PUBLIC_MODULES[naming]:
            renamed[f"{PUBLIC_MODULES[naming][module]}.{name}"] = weight
        else:
            left_over.append(key)
    return renamed, left_over


def load_public(block: NonLocal, weights: Mapping[str, Tensor], naming: Naming) -> None:
    """Loads the weights of one public non-local block into ours, all or nothing.

    Args:
        block: Built with the options that the public block had.
        weights: By key within the public block.
        naming: Whose block, as in :func:`rename_public`.

    Raises:
        ValueError: When keys are left over or missing, or a shape differs; the message names every one.
    """
    renamed, left_over = rename_public(weights, naming)
    own = block.state_dict()
    # Old norms do not count their batches, and nothing but a momentum of None reads the count.
    missing = [key for key in own if key not in renamed and not key.endswith("num_batches_tracked")]
    problems = [f"{key} has no counterpart" for key in left_over]
    problems += [f"{key} is missing" for key in missing]
    problems += [f"{key} has no place in this block" for key in renamed if key not in own]
    problems += [
        f"{key} has shape {tuple(weight.shape)}, not {tuple(own[key].shape)}"
        for key, weight in renamed.items()
        if key in own and weight.shape != own[key].shape
    ]
    if problems:
        raise ValueError(f"weights of a {naming} block do not fit: {'; '.join(problems)}")
    block.load_state_dict(renamed, strict=False)
