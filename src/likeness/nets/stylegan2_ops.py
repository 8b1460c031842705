"""The numerical pieces of StyleGAN2: its resampling filter, its gained activation and its modulated convolution.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 2 and appendix B.
Everything here is a plain differentiable function (twice, as R1 and the path length need it).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SQRT2 = math.sqrt(2.0)


def resample_filter() -> Tensor:
    """(4, 4) outer product of [1, 3, 3, 1], normalised to sum 1: the only filter the published networks use."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def upsample2(x: Tensor) -> Tensor:
    """Twice the size by zero insertion, the [1, 3, 3, 1] filter and gain 4: (N, C, H, W) -> (N, C, 2H, 2W).

    The filter is separable with taps 3/4 and 1/4, which needs a fraction of a grouped convolution's time. The result of
    a channel does not depend on how many there are: 0.25 b is exact, so that fused and plain additions round alike
    (torch's bilinear kernel rounds by its vector's width).
    """
    padded = F.pad(x, (0, 0, 1, 1))
    middle = x * 0.75
    even, odd = (torch.add(middle, side, alpha=0.25) for side in (padded[..., :-2, :], padded[..., 2:, :]))
    tall = torch.stack([even, odd], dim=-2).flatten(-3, -2)
    padded = F.pad(tall, (1, 1))
    middle = tall * 0.75
    even, odd = (torch.add(middle, side, alpha=0.25) for side in (padded[..., :-2], padded[..., 2:]))
    return torch.stack([even, odd], dim=-1).flatten(-2)


def filter4(x: Tensor, kernel: Tensor, *, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter every channel of (N, C, H, W) with the symmetric (4, 4) `kernel` times `gain`."""
    channels = x.shape[1]
    weight = (kernel * gain).to(x.dtype).expand(channels, 1, 4, 4)
    return F.conv2d(x, weight, padding=padding, stride=stride, groups=channels)


def downsample2(x: Tensor, kernel: Tensor) -> Tensor:
    """Half the size by the filter and a stride of 2: (N, C, H, W) -> (N, C, H/2, W/2)."""
    return filter4(x, kernel, padding=1, stride=2)


def convolve(x: Tensor, weight: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1) -> Tensor:
    """3x3 or 1x1 convolution of (N, C, H, W) with `weight` (O, C, k, k), resampled by two either way.

    `up=2` is a true (flipped) transposed convolution followed by the filter, everything else is a correlation, as in
    the published weights.
    """
    pad = weight.shape[-1] // 2
    if up == 2:
        return filter4(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), kernel, padding=1, gain=4.0)
    if down == 2:
        if weight.shape[-1] == 1:
            return F.conv2d(downsample2(x, kernel), weight)
        return F.conv2d(filter4(x, kernel, padding=2), weight, stride=2)
    return F.conv2d(x, weight, padding=pad)


def modulated_convolve(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    kernel: Tensor,
    *,
    up: int = 1,
    noise: Tensor | None = None,
) -> Tensor:
    """Convolution whose input channels are scaled by `styles` and whose output channels have unit expected variance.

    The scaling is applied to the activations, so that all samples share one weight, and undone ("demodulated") by
    rsqrt(sum of squares of the modulated weight + 1e-8) per output channel.

    Args:
        x: (N, C, H, W), float32 or a half type; `weight` and `styles` stay float32.
        weight: (O, C, k, k), raw.
        styles: (N, C).
        kernel: (4, 4) resampling filter, read for `up=2`.
        up: 1 or 2.
        noise: added after demodulation, broadcast to (N, O, H, W).

    Returns:
        (N, O, H * up, W * up) of x's type.
    """
    if x.dtype == torch.float16:
        # float16 overflows long before 1e-8 matters: both factors are made at most one, which demodulation undoes.
        largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
        weight = weight / (math.sqrt(weight[0].numel()) * largest)
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    y = x * styles.to(x.dtype)[:, :, None, None]
    y = convolve(y, weight.to(x.dtype), kernel, up=up)
    power = weight.square().sum(dim=(2, 3))  # (O, C)
    scale = (styles.square() @ power.T + 1e-8).rsqrt()  # (N, O)
    y = y * scale.to(x.dtype)[:, :, None, None]
    return y if noise is None else y + noise.to(x.dtype)


def bias_lrelu(
    x: Tensor, bias: Tensor | None, *, gain: float = 1.0, clamp: float | None = None, linear: bool = False
) -> Tensor:
    """Add `bias` along dimension 1, apply the leaky ReLU (slope 0.2, gain sqrt 2) or nothing, then gain, then clamp.

    `gain` multiplies the activation's own gain and the clamp's bound alike.
    """
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))
    if not linear:
        x = F.leaky_relu(x, 0.2)
        gain, bound = gain * SQRT2, gain
    else:
        bound = gain
    if gain != 1.0:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp * bound, clamp * bound)


def normalise_second_moment(x: Tensor, dim: int = 1) -> Tensor:
    """x / sqrt(mean x^2 + 1e-8) along `dim`."""
    return x * (x.square().mean(dim=dim, keepdim=True) + 1e-8).rsqrt()


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """(N, 1, H, W): the deviation across groups of samples, averaged over channels and pixels.

    Groups take every (N / group)-th sample. A group of one has no deviation and gives the constant 1e-4.
    """
    n, channels, height, width = x.shape
    size = min(group, n)
    while n % size:
        size -= 1
    grouped = x.reshape(size, n // size, channels, height, width).float()
    centred = grouped - grouped.mean(dim=0, keepdim=True)
    deviation = (centred.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (N / size,)
    return deviation.repeat(size).reshape(n, 1, 1, 1).expand(n, 1, height, width).to(x.dtype)
