"""A 3x3 convolution and the resampling beside it as one convolution, which is exact and needs 4/9 of the products.

After nearest upsampling each output pixel sees only 2x2 different pixels; before a 2x2 average pool the sum of four
3x3 windows is one 4x4 window. Along one axis the four taps of either kernel are sums of the three given ones.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Resize = Literal["none", "nearest", "avgpool"]

POOLED = ((0.5, 0.5, 0, 0), (0, 0.5, 0.5, 0), (0, 0, 0.5, 0.5))
"""Taps of a convolution -> of the strided convolution which is that one, then pooling."""
UPSAMPLED = ((0, 0, 1, 1), (0, 1, 1, 0), (1, 1, 0, 0))
"""Taps of a convolution -> of the transposed convolution which is upsampling, then that one."""

SMALL = 8
"""Below this height, upsampling costs less than composing the kernels of a wide layer anew for every call."""


def composed(weight: Tensor, taps: tuple[tuple[float, ...], ...]) -> Tensor:
    """Kernels (out, in, 3, 3) -> (out, in, 4, 4) by `taps` along both axes."""
    axis = weight.new_tensor(taps)
    both = torch.einsum("ka,lb->klab", axis, axis).reshape(9, 16)
    return (weight.reshape(-1, 9) @ both).reshape(*weight.shape[:2], 4, 4)


class ResizedConv(nn.Conv2d):
    """A 3x3 convolution after nearest upsampling by two, or before average pooling by two; parameters as of the 3x3."""

    def __init__(self, in_channels: int, out_channels: int, resize: Resize):
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        if self.resize == "avgpool":
            return F.conv2d(x, composed(self.weight, POOLED), self.bias, stride=2, padding=1)
        if self.resize == "nearest" and x.shape[-1] >= SMALL:
            kernel = composed(self.weight, UPSAMPLED).transpose(0, 1)
            return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)
        if self.resize == "nearest":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return super().forward(x)
