"""3 x 3 convolutions by the fastest way there is: Winograd's on a CPU where it pays, torch's own everywhere else."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from likeness.nets.winograd import convolve

LEAST_TILES, LEAST_FILTERS = 48, 2048
"""Below so many 4 x 4 tiles of the result, or so many filters, transforming them costs what it saves."""

MOST_THREADS = 4
"""The tile transforms run on one thread; with more threads than this torch's own convolution is done sooner."""


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 1) -> Tensor:
    """Convolve x (N, C, H, W) with weight (K, C, 3, 3) at stride 1, as `torch.nn.functional.conv2d` does.

    Differentiable any often. Where Winograd's way is taken, the result has its channels last in memory, and its
    rounding error is about twice that of torch's channels-last sum (1.1e-6 of a standard deviation, 128 channels).
    """
    if pays(x, weight, padding):
        return convolve(x, weight, bias, padding)
    return functional.conv2d(x, weight, bias, padding=padding)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, computed by `conv3x3` where its filters are 3 x 3, its stride 1 and its padding zeros."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if (
            self.kernel_size == (3, 3)
            and self.stride == self.dilation == (1, 1)
            and self.groups == 1
            and self.padding_mode == "zeros"
            and self.padding in ((0, 0), (1, 1), (2, 2))
        ):
            return conv3x3(input, weight, bias, int(self.padding[0]))
        return super()._conv_forward(input, weight, bias)


def pays(x: Tensor, weight: Tensor, padding: int = 1) -> bool:
    """Whether `conv3x3` takes Winograd's way."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    out, into = weight.shape[:2]
    number, _, rows, columns = x.shape
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and out % 16 == into % 16 == 0
        and out * into >= LEAST_FILTERS
        and number * ((rows + 2 * padding + 1) // 4) * ((columns + 2 * padding + 1) // 4) >= LEAST_TILES
        and torch.get_num_threads() <= MOST_THREADS
        and not torch.is_autocast_enabled("cpu")
    )
