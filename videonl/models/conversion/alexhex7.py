"""One non-local block of AlexHex7/Non-local_pytorch, the implementation that most image code copied."""

from typing import Any

from videonl.blocks import NonLocal
from videonl.blocks.importing import load_public, rename_public
from videonl.errors import UserError
from videonl.models.conversion.checkpoint_io import tensors
from videonl.models.conversion.foreign import Stated
from videonl.models.conversion.nonlocal_blocks import options_of, pairwise_of
from videonl.models.weights import Weights

HINT = "embedded_gaussian or dot_product, by the file of lib/ the block is from"

FLAGS = {"num_frames": "clip"}


def alexhex7_block(content: Any, stated: Stated, source: str) -> Weights:
    """The ``state_dict`` of an ``NONLocalBlock3D``.

    Raises:
        UserError: When it is none, or one for images or sequences.
    """
    for name in ("backbone", "strides", "pool_padding", "num_frames"):
        if getattr(stated, name) is not None:
            raise UserError(f"--{FLAGS.get(name, name)} is for whole networks, but this is one block")
    theirs = tensors(content, ("state_dict",), "one block of AlexHex7/Non-local_pytorch")
    weights, left_over = rename_public(theirs, "alexhex7")
    if left_over or "g.weight" not in weights:
        raise UserError(f"this is not the state_dict of one block: left over are {', '.join(left_over) or 'no keys'}")
    if weights["g.weight"].ndim != 5:
        raise UserError("this block is for images or sequences; only 3D blocks (NONLocalBlock3D) fit clips")
    pooled = "g.0.weight" in theirs
    for name, value in (("scale", False), ("subsample", pooled)):
        if getattr(stated, name) not in (None, value):
            raise UserError(f"--{name} {getattr(stated, name)}: the block of the file has {value}")
    options = options_of(
        weights, pairwise_of(weights, stated, HINT), pool_order="post" if pooled else None, scale=False
    )
    block = NonLocal(weights["g.weight"].shape[1], **options)
    try:
        load_public(block, theirs, "alexhex7")
    except ValueError as error:
        raise UserError(str(error)) from error
    return Weights(block.state_dict(), source, block={"block": "nonlocal", "options": options})
