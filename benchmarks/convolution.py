"""3 x 3 convolutions by Winograd's way against torch's own, both with channels last."""

import torch
from torch.nn import functional

from benchmarks import Row, best_time
from likeness.nets.winograd import convolve

SHAPES = [(2, 32, 256), (2, 64, 64), (2, 64, 256), (2, 128, 32), (2, 128, 64), (2, 256, 64), (4, 512, 16), (1, 512, 32)]
"""Pictures, channels in and out, side."""


def main() -> list[Row]:
    """Forward alone, and forward with both gradients."""
    rows = []
    for number, channels, side in SHAPES:
        x = torch.randn(number, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
        weight = torch.randn(channels, channels, 3, 3, requires_grad=True)
        upstream = torch.randn(number, channels, side, side).contiguous(memory_format=torch.channels_last)

        def forward(function, x=x, weight=weight) -> float:
            with torch.no_grad():
                return best_time(lambda: function(x, weight, padding=1))

        def whole(function, x=x, weight=weight, upstream=upstream) -> float:
            return best_time(lambda: torch.autograd.grad(function(x, weight, padding=1), (x, weight), upstream))

        what = f"{number} x {channels} channels, {side} x {side}"
        for name, time in (("forward", forward), ("forward and backward", whole)):
            rows.append(Row(f"{what}, {name}", time(convolve), "torch's own", time(functional.conv2d)))
    return rows
