"""Modes of batch norm in training: trained, synchronized over all processes, frozen, or an affine map.

Each mode gives the norms another class, in place: the keys of the ``state_dict`` stay, and checkpoints of one mode load
into any other.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from videonl.errors import UserError

BatchNormMode = Literal["trained", "synchronized", "frozen", "affine"]


class SynchronizedBatchNorm3d(nn.BatchNorm3d):
    """Batch norm with the statistics of all processes' clips together.

    Unlike ``torch.nn.SyncBatchNorm`` it also runs on CPUs.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalizes (B, C, T, H, W); B, T, H and W may differ between processes."""
        if not self.training or not distributed.is_available() or not distributed.is_initialized():
            return super().forward(input)
        # Imported here because PyTorch may be built without it.
        from torch.distributed.nn.functional import all_reduce

        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        axes = [axis for axis in range(x.dim()) if axis != 1]
        count = all_reduce(x.new_tensor(x.numel() / x.shape[1]))
        mean = all_reduce(x.sum(axes)) / count
        centered = x - _over_channels(mean)
        variance = all_reduce(centered.square().sum(axes)) / count
        if self.num_batches_tracked is not None:
            self._track(self.num_batches_tracked, mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(_over_channels(self.bias), centered, _over_channels(scale)).to(input.dtype)

    def _track(self, num_batches: Tensor, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        num_batches.add_(1)
        share = 1 / float(num_batches) if self.momentum is None else self.momentum  # without one, the mean of all
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _over_channels(vector: Tensor) -> Tensor:
    return vector.reshape(-1, 1, 1, 1)  # (C,) beside (B, C, T, H, W)


class FrozenBatchNorm3d(nn.BatchNorm3d):
    """Batch norm that always uses its running statistics, and is not trained."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm3d":
        """Stays in eval mode."""
        super().train(False)
        return self


class AffineNorm3d(FrozenBatchNorm3d):
    """A batch norm with fixed statistics: a trained ``y = weight x + bias`` for each channel.

    Source: ``AffineNd`` of the authors' code of arXiv:1711.07971, for long clips, of which few fit into a batch.
    Statistics are folded into weight and bias when it is made and whenever a ``state_dict`` is loaded. The buffers
    then hold a mean of 0 and a variance that together with eps makes 1: read by a batch norm, they mean the same map.
    """

    @torch.no_grad()
    def fold_statistics(self) -> None:
        """Moves the running statistics into weight and bias, unless that has been done."""
        assert self.running_mean is not None and self.running_var is not None
        if self.weight.is_meta:
            return
        unit = torch.full_like(self.running_var, 1 - self.eps)
        if torch.equal(self.running_var, unit) and not self.running_mean.any():
            return
        self.weight.mul_(torch.rsqrt(self.running_var + self.eps))
        self.bias.sub_(self.running_mean * self.weight)
        self.running_mean.zero_()
        self.running_var.copy_(unit)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.fold_statistics()

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, C, T, H, W)."""
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def set_batch_norm(network: nn.Module, mode: BatchNormMode) -> None:
    """Sets the mode of every 3D batch norm in a network, in place.

    Args:
        network: Any network; norms without weights or running statistics stay as they are.
        mode: ``trained``: statistics of the batch, as everywhere. ``synchronized``: of the batches of all processes.
            ``frozen``: running statistics, weight and bias stay as they were loaded. ``affine``: running statistics are
            folded into weight and bias, which learn.

    Raises:
        UserError: For an unknown mode.
    """
    if mode not in get_args(BatchNormMode):
        raise UserError(f"unknown batch_norm {mode!r}; choose one of: {', '.join(get_args(BatchNormMode))}")
    for module in network.modules():
        if mode != "trained" and type(module) is nn.BatchNorm3d and module.affine and module.track_running_stats:
            _set_mode(module, mode)


def _set_mode(norm: nn.BatchNorm3d, mode: BatchNormMode) -> None:
    if mode == "synchronized":
        norm.__class__ = SynchronizedBatchNorm3d
        return
    norm.__class__ = FrozenBatchNorm3d if mode == "frozen" else AffineNorm3d
    norm.train(False)
    if isinstance(norm, AffineNorm3d):
        norm.fold_statistics()
    else:
        norm.requires_grad_(False)
