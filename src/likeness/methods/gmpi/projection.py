"""Features -> one number a pixel, through an instance normalisation of which no normalised copy exists."""

from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from likeness.kernels import floats, launch
from likeness.methods.gmpi import projection_kernels as kernels

EPSILON = 1e-8


def normalised_projection(x: Tensor, kernel: Tensor) -> Tensor:
    """sum_c kernel_c * (x_c - mean_c) / deviation_c: (N, C, H, W), (N, C) -> (N, H, W), float32.

    The deviation of a channel is sqrt(unbiased variance + 1e-8) + 1e-8.
    """
    return cast(Tensor, _NormalisedProjection.apply(x, kernel))


class _NormalisedProjection(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kernel):
        mean, variance = moments(x)
        root = (variance + EPSILON).sqrt()
        scaled = kernel / (root + EPSILON)
        ctx.save_for_backward(x, kernel, mean, root)
        constant = (scaled * mean).sum(1)[:, None, None]
        y = torch.bmm(scaled.unsqueeze(1), x.flatten(2)) - constant
        return y.squeeze(1).unflatten(1, x.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, kernel, mean, root = ctx.saved_tensors
        g = gradient.flatten(1).unsqueeze(1)  # (N, 1, H W)
        pixels, total = x[0, 0].numel(), g.sum(2)  # (N, 1)
        deviation = root + EPSILON
        along = torch.bmm(g, x.flatten(2).mT).squeeze(1) - mean * total  # (N, C) sum of g (x - mean)
        scaled = kernel / deviation
        # Through the deviation, every pixel by its distance from the mean; through the mean, all pixels alike.
        slope = -scaled * along / (deviation * root * (pixels - 1))
        offset = -scaled * total / pixels - slope * mean
        of_x = torch.addcmul(offset[:, :, None, None], x, slope[:, :, None, None])
        of_x.permute(0, 2, 3, 1).flatten(1, 2).baddbmm_(g.mT, scaled.unsqueeze(1))
        return of_x, along / deviation


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance (N, C) of the pixels of x (N, C, H, W)."""
    n, channels, rows, columns = x.shape
    if x.device.type != "cpu" or x.dtype != torch.float32 or channels % 16:
        variance, mean = torch.var_mean(x, dim=(2, 3))
        return mean, variance
    x = x.contiguous(memory_format=torch.channels_last)
    means, deviations = x.new_empty(n, rows, channels), x.new_empty(n, rows, channels)
    arrays = [floats(t) for t in (x, means, deviations)]
    launch(kernels.row_moments, n * rows, [*arrays, columns, channels], x.device)
    mean = means.mean(1)
    squares = deviations.sum(1) + columns * (means - mean[:, None]).square().sum(1)
    return mean, squares / (rows * columns - 1)
