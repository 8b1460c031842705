"""3x3 convolutions and the resampling beside them, each by its fastest way; all are exact but for rounding.

After nearest upsampling each output pixel sees only 2x2 different pixels: one transposed convolution whose four taps
an axis are sums of the three given ones. Pooling commutes with a convolution: pixels averaged 2x2 at every place, then
every second pixel convolved.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks import products
from likeness.methods.bilayer.networks.spectral_norm import DividesItself, divided, measured
from likeness.nets.convolution import conv3x3, pays

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


class Convolution(DividesItself, nn.Conv2d):
    """A 3x3 convolution, padded by zeros; after nearest upsampling by two, or before average pooling by two."""

    def __init__(self, in_channels: int, out_channels: int, resize: Resize = "none"):
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        normed = measured(self)
        weight = self.weight if normed is None else normed.weight
        fast = x.is_contiguous(memory_format=torch.channels_last)
        winograds = self.resize == "none" and pays(x, weight)
        if fast and not winograds and products.suits(x, weight, self.resize):
            return products.convolve(x, weight if normed is None else normed, self.bias, self.resize)
        if normed is not None:
            weight = divided(normed)
        if self.resize == "nearest" and x.shape[-1] >= SMALL:
            return F.conv_transpose2d(x, composed(weight, UPSAMPLED).transpose(0, 1), self.bias, stride=2, padding=1)
        if self.resize == "nearest":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.resize == "avgpool" and fast:
            return convolve_pooled(x, weight, self.bias)
        if self.resize == "avgpool":
            return F.conv2d(x, composed(weight, POOLED), self.bias, stride=2, padding=1)
        if fast:
            return conv3x3(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, padding=1)


def laid_out(x: Tensor) -> Tensor:
    """Pictures as a network best has them: where gradients are wanted, channels last, which takes the fast ways.

    Otherwise as they are: torch's sums with channels first are three times as exact, and a UV field that is off by 1e-6
    can be seen in a rough texture. Who needs speed without gradients fixes the kernels (`fix_kernels`).
    """
    return x.contiguous(memory_format=torch.channels_last) if torch.is_grad_enabled() else x


def convolve_pooled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution, then average pooling by two: pictures (N, C, H, W) of even sides -> (N, K, H / 2, W / 2)."""
    return F.conv2d(F.avg_pool2d(x, 2, 1, padding=1), weight, bias, stride=2)


def add_upsampled(large: Tensor, small: Tensor) -> Tensor:
    """`large + nearest(small)`: pictures (N, C, 2H, 2W) and (N, C, H, W)."""
    if torch.is_grad_enabled() or not large.is_contiguous(memory_format=torch.channels_last):
        return large + F.interpolate(small, scale_factor=2, mode="nearest")
    # With the channels closest together, each small pixel is added to its four without being repeated first.
    count, channels, height, width = small.shape
    quads = large.permute(0, 2, 3, 1).reshape(count, height, 2, width, 2, channels)
    quads = quads.add_(small.permute(0, 2, 3, 1)[:, :, None, :, None])
    return quads.reshape(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def difference_kernels(weight: Tensor) -> list[Tensor]:
    """Kernels (out, in, 3, 3) -> matrices (in, m * out) for `convolve_differences`, m = 1, 2, 2, 4."""
    rows, columns = weight.sum(3), weight.sum(2)  # (out, in, 3)
    parts = (
        (weight.sum((2, 3)),),
        (-rows[..., 0], rows[..., 2]),
        (-columns[..., 0], columns[..., 2]),
        (weight[..., 0, 0], -weight[..., 0, 2], -weight[..., 2, 0], weight[..., 2, 2]),
    )
    return [torch.cat(part).t().contiguous() for part in parts]


def convolve_differences(x: Tensor, kernels: Sequence[Tensor], bias: Tensor) -> Tensor:
    """Nearest upsampling, then a 3x3 convolution, with 9 products in place of the 16 of a transposed convolution.

    Along an axis with taps a, b, c the two pixels made of x[i] are `(a + b + c) x[i] - a (x[i] - x[i - 1])` and
    `(a + b + c) x[i] + c (x[i + 1] - x[i])`: three products, one of them shared.

    Args:
        x: (N, C, H, W).
        kernels: of `difference_kernels`.
        bias: (out,).

    Returns:
        (N, out, 2H, 2W), channels last.
    """
    count, _, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    down = padded[:, 1:] - padded[:, :-1]  # (N, H + 1, W + 2, C)
    right = padded[:, 1:-1, 1:] - padded[:, 1:-1, :-1]
    both = down[:, :, 1:] - down[:, :, :-1]
    parts = (padded[:, 1:-1, 1:-1], down[:, :, 1:-1], right, both)
    same, rows, columns, corners = (
        torch.matmul(part, kernel).unflatten(-1, (-1, len(bias))) for part, kernel in zip(parts, kernels, strict=True)
    )
    same = same[..., 0, :] + bias
    made = x.new_empty(count, height, 2, width, 2, len(bias))
    for p in (0, 1):
        row = same + rows[:, p : p + height, :, p]
        for q in (0, 1):
            corner = corners[:, p : p + height, q : q + width, 2 * p + q]
            made[:, :, p, :, q] = (row + columns[:, :, q : q + width, q]).add_(corner)
    return made.reshape(count, 2 * height, 2 * width, len(bias)).permute(0, 3, 1, 2)


DIFFERENCES = ("same", "rows", "columns", "corners")
"""Buffers of `FixedConv` that hold `difference_kernels`."""

SPARING = 256
"""From this many channels on, the products saved by differences are worth the sums."""


class FixedConv(nn.Module):
    """A convolution of given weight (out, in, 3, 3) and bias, for inference: what can be done to its kernel is done.

    Args:
        weight, bias: as of the convolution without resampling.
        resize: the resampling beside it.
    """

    def __init__(self, weight: Tensor, bias: Tensor, resize: Resize = "none"):
        super().__init__()
        self.resize = resize
        self.differences = weight.shape[1] >= SPARING and resize == "nearest"
        for name, part in zip(DIFFERENCES, difference_kernels(weight) if self.differences else (), strict=False):
            self.register_buffer(name, part)
        if resize == "nearest":
            weight = composed(weight, UPSAMPLED).transpose(0, 1)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.get_buffer("weight"), self.get_buffer("bias")
        if self.differences and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.jit.is_tracing():
            return convolve_differences(x, [self.get_buffer(name) for name in DIFFERENCES], bias)
        if self.resize == "nearest":
            return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        if self.resize == "avgpool":
            return convolve_pooled(x, weight, bias)
        return conv3x3(x, weight, bias)


def fix_kernels(network: nn.Module) -> None:
    """Replace, in place, all 3x3 convolutions by `FixedConv`; spectral norms are folded already."""
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.bias is not None:
                resize = layer.resize if isinstance(layer, Convolution) else "none"
                setattr(module, name, FixedConv(layer.weight.detach(), layer.bias.detach(), resize))
