"""What a backbone tells about itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Backbone:
    """A 3D CNN, head included, with names for its parts.

    Attributes:
        network: Maps clips (B, 3, T, H, W), or of as many channels as its ``in_channels`` says, to logits
            (B, num_classes). It knows nothing of attention blocks, and its ``state_dict`` keys are those of its public
            checkpoints.
        stages: For each stage name (res2, res3, ...) the module paths of its units, in order.
        clip: The clip (T, H, W) that its published figures are for.
    """

    network: nn.Module
    stages: Mapping[str, tuple[str, ...]]
    clip: Size = (8, 224, 224)


def input_channels(network: nn.Module) -> int:
    """Channels of the clips that a network reads: 3 unless it says otherwise."""
    channels = getattr(network, "in_channels", 3)
    return channels if isinstance(channels, int) else 3
