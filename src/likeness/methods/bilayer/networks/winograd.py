"""3x3 convolutions with a quarter of the products, by matrix products alone: Winograd's F(4x4, 3x3), for inference.

Every 4x4 square of the output comes from 6x6 pixels of the input. Both are sums of 36 points at which a convolution is
a plain product of matrices over channels, so that 36 products a square replace 144. Rounding errors are about seven
times those of a direct convolution (2e-6 of the output's deviation). Source: Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, 2015.
"""

from math import gcd

import torch
from torch import Tensor
from torch.nn import functional as F

INPUT = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
KERNEL = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))

CONSTANT = 7
"""The point which every pixel of a square sees with weight 1: where a bias is added."""

STRIP = 65536
"""Squares times channels worked on together: what the processor's second cache holds."""

WORTH = (128, 64)
"""From so many channels out and in, and from `LEAST` pixels a side, this beats a direct convolution."""

LEAST = 16


def points_of(weight: Tensor) -> Tensor:
    """Kernels (out, in, 3, 3) at the 36 points -> (36, in, out)."""
    axis = torch.tensor(KERNEL, dtype=torch.float64, device=weight.device)
    points = torch.einsum("ak,oikl,bl->abio", axis, weight.double(), axis)
    return points.flatten(0, 1).to(weight.dtype).contiguous()


def serves(x: Tensor) -> bool:
    """Whether products of matrices are the way: float32 on a CPU without gradients, and never in a trace."""
    if torch.jit.is_tracing() or torch.is_grad_enabled():
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32


def suits(x: Tensor) -> bool:
    """Whether `convolve` serves: also, sides are multiples of 4 and large enough."""
    if not serves(x):
        return False
    height, width = x.shape[-2:]
    return height % 4 == 0 and width % 4 == 0 and min(height, width) >= LEAST


def convolve(x: Tensor, points: Tensor, bias: Tensor) -> Tensor:
    """Convolve pictures (N, in, H, W) with `points_of` a kernel, zeros outside -> (N, out, H, W), channels last."""
    count, channels, height, width = x.shape
    out = points.shape[2]
    rows, columns = height // 4, width // 4
    strip = gcd(rows, 1 << max(1, STRIP // (columns * max(channels, out))).bit_length() - 1)
    squares = strip * columns
    axis_in, axis_out = (x.new_tensor(axis) for axis in (INPUT, OUTPUT))
    spread, gather = torch.kron(axis_in, axis_in), torch.kron(axis_out, axis_out)  # (36, 36), (16, 36)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    image, line = padded.stride()[:2]
    pieces, spreaded = x.new_empty(2, 36, squares * channels).unbind()
    products = x.new_empty(36, squares, out)
    results = x.new_empty(16, squares * out)
    made = x.new_empty(count, rows, 4, columns, 4, out)
    for index in range(count):
        for row in range(0, rows, strip):
            overlapping = padded.as_strided(
                (6, 6, strip, columns, channels),
                (line, channels, 4 * line, 4 * channels, 1),
                index * image + row * 4 * line,
            )
            pieces.view(overlapping.shape).copy_(overlapping)
            torch.mm(spread, pieces, out=spreaded)
            torch.bmm(spreaded.view(36, squares, channels), points, out=products)
            products[CONSTANT].add_(bias)
            torch.mm(gather, products.view(36, -1), out=results)
            made[index, row : row + strip] = results.view(4, 4, strip, columns, out).permute(2, 0, 3, 1, 4)
    return made.view(count, height, width, out).permute(0, 3, 1, 2)
