"""A network as it is used: raw clips in, logits out."""

import hashlib
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from videonl.backbones.fold import folded
from videonl.blocks import AttentionBlock
from videonl.data.transforms import MOST_VIEWS, ClipFormat, normalize
from videonl.errors import require_within
from videonl.models import ClipClassifier

VIEWS_PER_STEP = 8
"""Most views of a video in one forward pass, wherever nothing else is asked for: the last bit may depend on it."""


class Recognizer:
    """Scores raw clips with a network: the same logits to the last bit for every command on one device.

    Args:
        network: Takes normalized clips (B, 3, T, H, W) and returns logits (B, K). Where it is not folded it must be in
            eval mode, and its weights are laid out anew in memory.
        clip: What the network expects of a clip.
        views_per_step: Most views in one forward pass.
        channels_last: Store activations with channels innermost, which most machines compute faster.
        fold: Score with a copy whose batch norms are folded into the convolutions before them. Networks other than
            :class:`ClipClassifier` are never folded, as it is not known whether they take any clip.

    Attributes:
        network: The network that scores, in eval mode: the folded copy, or the one given.
        clip: What it expects of a clip.
    """

    def __init__(
        self,
        network: nn.Module,
        clip: ClipFormat,
        views_per_step: int = VIEWS_PER_STEP,
        channels_last: bool = True,
        fold: bool = True,
    ) -> None:
        require_within(1, MOST_VIEWS, views_per_step=views_per_step)
        self.network = folded(network) if fold and isinstance(network, ClipClassifier) else network
        self.clip = clip
        self.views_per_step = views_per_step
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        lay_out(self.network, self.memory_format)

    @property
    def blocks(self) -> Mapping[str, AttentionBlock]:
        """The inserted attention blocks of the network that scores, by name; none for networks of other packages."""
        blocks: Mapping[str, AttentionBlock] = getattr(self.network, "blocks", {})
        return blocks

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def inputs(self, views: Tensor) -> Tensor:
        """What the network is given for raw clips (V, 3, T, H, W) of pixels from 0 to 255, on its device."""
        weight = next(self.network.parameters())
        return network_input(views.to(weight.device), self.clip, weight.dtype, self.memory_format)

    def alone(self) -> AbstractContextManager[object]:
        """While this lasts no other thread runs the network, where several threads may."""
        return nullcontext()

    def logits(self, views: Tensor) -> Tensor:
        """Scores the views of one video, at most ``views_per_step`` in one forward pass, without gradients.

        Args:
            views: Pixels from 0 to 255, (V, 3, T, H, W), uint8 or floating, on any device.

        Returns:
            Logits (V, K), on the network's device.
        """
        with self.alone(), torch.inference_mode():
            return torch.cat([self.network(self.inputs(part)) for part in views.split(self.views_per_step)])

    def logits_of_videos(self, views: Tensor, video: Tensor) -> Tensor:
        """Scores views of several videos: those of one video together, and videos of one view all at once.

        So the logits of a video of several views do not depend on the videos beside it. Single views are as many as the
        batch, which is as large as the loader was told to make it.

        Args:
            views: Pixels from 0 to 255, (V, 3, T, H, W).
            video: The video that each view belongs to, (V,); the views of a video follow one another.

        Returns:
            Logits (V, K), on the network's device.
        """
        sizes = torch.unique_consecutive(video, return_counts=True)[1].tolist()
        if max(sizes) == 1:
            with self.alone(), torch.inference_mode():
                logits: Tensor = self.network(self.inputs(views))
            return logits
        return torch.cat([self.logits(part) for part in views.split(sizes)])


class SharedRecognizer(Recognizer):
    """A recognizer for several threads, of which one at a time runs the network.

    Hooks of one thread would see the clip of another, and blocks that read an earlier stage its features.
    """

    def __init__(self, network: nn.Module, clip: ClipFormat, views_per_step: int = VIEWS_PER_STEP) -> None:
        super().__init__(network, clip, views_per_step)
        self._lock = threading.RLock()

    def alone(self) -> AbstractContextManager[object]:
        """See :meth:`Recognizer.alone`."""
        return self._lock


def network_input(clips: Tensor, clip: ClipFormat, dtype: torch.dtype, memory_format: torch.memory_format) -> Tensor:
    """Raw clips as a network wants them: normalized, in its precision and memory format.

    Args:
        clips: Pixels from 0 to 255, (B, 3, T, H, W), uint8 or floating.
        clip: Has the mean and the standard deviation.
        dtype: Of the network's weights.
        memory_format: Of the activations.

    Returns:
        (B, 3, T, H, W).
    """
    return normalize(clips, clip.mean, clip.std).to(dtype).contiguous(memory_format=memory_format)


def lay_out(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Lays the weights out as the convolutions want them, in place."""
    for weight in network.parameters():
        # Of these alone: Module.to would refuse the 4D weights of a layer norm over (C, 1, 1, 1).
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=memory_format)


def fingerprint(recognizer: Recognizer) -> str:
    """Tells one network's weights from another's."""
    digest_of_all = hashlib.sha256()
    for name, tensor in sorted(recognizer.network.state_dict().items()):
        digest_of_all.update(name.encode())
        digest_of_all.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest_of_all.hexdigest()[:16]
