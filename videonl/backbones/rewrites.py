"""Exact rewrites: the same numbers from the same weights, by operations that run faster.

A rewrite gives a module another class, in place. Parameters, buffers, their names and the module's place in the network
stay, so that every ``state_dict`` stays valid both ways.
Shapes: B batch, C channels, T H W time height width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize


class FrameConv3d(nn.Conv3d):
    """A 1 x k x k convolution over the frames of all clips in 2D, where channels are innermost."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _channels_innermost(input):  # frames would have to be copied side by side
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain
        padding = self.padding if isinstance(self.padding, str) else self.padding[1:]
        frames = _frames(input, self.stride[0])
        convolved = F.conv2d(frames, weight.squeeze(2), bias, self.stride[1:], padding, self.dilation[1:], self.groups)
        return _clips(convolved, input.shape[0])


class TimeConv3d(nn.Conv3d):
    """A k x 1 x 1 convolution over time and all positions in 2D, where channels are innermost, on CPUs.

    With one thread PyTorch unfolds the input of a 3D convolution, to k times its size, instead of calling oneDNN.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type != "cpu" or not _channels_innermost(input):
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain
        padding = self.padding if isinstance(self.padding, str) else self.padding[:2]
        rows = input.flatten(3)  # (B, C, T, H, W) -> (B, C, T, H * W), a view
        stride, dilation = self.stride[:2], self.dilation[:2]
        convolved = F.conv2d(rows, weight.squeeze(-1), bias, stride, padding, dilation, self.groups)
        clips: Tensor = convolved.unflatten(3, input.shape[3:])  # (B, C, T, H * W) -> (B, C, T, H, W)
        return clips


class FrameMaxPool3d(nn.MaxPool3d):
    """A 1 x k x k max pool over the frames of all clips in 2D, where channels are innermost."""

    def forward(self, input: Tensor) -> Tensor:
        """Pools features (B, C, T, H, W)."""
        if not _channels_innermost(input):
            pooled: Tensor = super().forward(input)
            return pooled
        kernel, stride, padding, dilation = (
            _triple(value)[1:] for value in (self.kernel_size, self.stride, self.padding, self.dilation)
        )
        frames = _frames(input, _triple(self.stride)[0])
        return _clips(F.max_pool2d(frames, kernel, stride, padding, dilation, self.ceil_mode), input.shape[0])


class ResidualSum(nn.Module):
    """The sum of a shortcut and a branch, written over the branch.

    The branch must be the result of a norm or a convolution, whose backward reads their input and not what they return.

    Attributes:
        inplace: False has it write elsewhere.
    """

    inplace = True

    def forward(self, shortcut: Tensor, branch: Tensor) -> Tensor:
        """Adds features (B, C, T, H, W)."""
        if self.inplace and branch.dtype == shortcut.dtype:
            return branch.add_(shortcut)
        return shortcut + branch


def run_frames_in_2d(network: nn.Module) -> None:
    """Rewrites every 1 x k x k convolution and max pool of a network, and every k x 1 x 1 convolution, in place.

    2D kernels are the better tuned ones: with strides they go backward about twice as fast on CPUs, else as fast. It
    needs channels innermost (``torch.channels_last_3d``); features laid out otherwise run as they did.

    Examples:
        >>> network = nn.Sequential(nn.Conv3d(3, 5, (1, 3, 3)), nn.Conv3d(5, 7, 3))
        >>> run_frames_in_2d(network)
        >>> [type(module).__name__ for module in network]
        ['FrameConv3d', 'Conv3d']
    """
    for module in network.modules():
        if _is_plain(module, nn.Conv3d) and _is_frame_conv(module):
            module.__class__ = FrameConv3d
        elif _is_plain(module, nn.Conv3d) and _is_time_conv(module):
            module.__class__ = TimeConv3d
        elif _is_plain(module, nn.MaxPool3d) and _is_frame_pool(module):
            module.__class__ = FrameMaxPool3d


def run_out_of_place(network: nn.Module) -> None:
    """Has activations and residual sums that would overwrite their input keep it instead."""
    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  # to mypy, attributes of modules are tensors


def _is_plain(module: nn.Module, base: type[nn.Module]) -> bool:
    """Whether a module computes what its torch class does, as subclasses without a forward of their own do."""
    own = type(module)
    same = own.forward is base.forward and getattr(own, "_conv_forward", None) is getattr(base, "_conv_forward", None)
    return isinstance(module, base) and same and not parametrize.is_parametrized(module)


def _is_frame_conv(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv3d)
    over_time = not isinstance(conv.padding, str) and conv.padding[0] > 0
    return conv.kernel_size[0] == 1 and conv.padding_mode == "zeros" and not over_time


def _is_time_conv(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv3d)
    over_space = not isinstance(conv.padding, str) and any(conv.padding[1:])
    points = (*conv.kernel_size[1:], *conv.stride[1:]) == (1, 1, 1, 1)
    return points and conv.padding_mode == "zeros" and not over_space


def _is_frame_pool(pool: nn.Module) -> bool:
    assert isinstance(pool, nn.MaxPool3d)
    return _triple(pool.kernel_size)[0] == 1 and _triple(pool.padding)[0] == 0 and not pool.return_indices


def _triple(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) * 3 if isinstance(value, int) else tuple(value)


def _channels_innermost(x: Tensor) -> bool:
    return x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)


def _frames(x: Tensor, step: int) -> Tensor:
    # (B, C, T, H, W) -> (B * T, C, H, W), every step-th frame; a view when channels are innermost and step is 1
    return x[:, :, ::step].transpose(1, 2).flatten(0, 1)


def _clips(frames: Tensor, batch: int) -> Tensor:
    clips: Tensor = frames.unflatten(0, (batch, -1)).transpose(1, 2)  # (B * T, C, H, W) -> (B, C, T, H, W)
    return clips
