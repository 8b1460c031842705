"""The numerical pieces of StyleGAN2: its resampling filter, its gained activation and its modulated convolution.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 2 and appendix B.
Everything here is a plain differentiable function (twice, as R1 and the path length need it). Pictures and features are
(N, C, H, W); everything is fastest where their channels come last in memory (`channels_last`), which the first layer of
a network sees to and which then spreads from layer to layer.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.kernels import floats, launch
from likeness.nets import resample_kernels as kernels
from likeness.nets.convolution import conv3x3
from likeness.nets.other_convolutions import doubled, halved, pointwise

SQRT2 = math.sqrt(2.0)
DIRECT = 16
"""Side of a picture up to which a batch of usual size has too few tiles for Winograd's way."""


def resample_filter() -> Tensor:
    """(4, 4) outer product of [1, 3, 3, 1], normalised to sum 1: the only filter the published networks use."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def upsample2(x: Tensor) -> Tensor:
    """Twice the size by zero insertion, the [1, 3, 3, 1] filter and gain 4: (N, C, H, W) -> (N, C, 2H, 2W).

    The result of a channel does not depend on how many there are.
    """
    return _Upsample2.apply(x, 1.0, False)


def downsample2(x: Tensor) -> Tensor:
    """Half the size by the filter and a stride of 2: (N, C, H, W) -> (N, C, H/2, W/2)."""
    return _Downsample2.apply(x, 1.0)


def filter4(x: Tensor, *, padding: int, gain: float = 1.0) -> Tensor:
    """Filter every channel of (N, C, H, W), padded with zeros, times `gain`."""
    return _Filter4.apply(x, padding, gain)


# torch differentiates a convolution of many groups twice by splitting it into as many convolutions. These maps are
# linear and constant, and each one's adjoint is one of them.
class _Upsample2(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, features):
        ctx.set_materialize_grads(False)
        ctx.gain = gain
        last = x.is_contiguous(memory_format=torch.channels_last)
        # Pictures and maps of planes go the other way, however many there are: see `upsample2`.
        if features and last and x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[1] % 16 == 0:
            return _doubled_channels_last(x, gain)
        y = _doubled(_doubled(x, 2), 3)
        return y if gain == 1.0 else y * gain

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return None, None, None
        return _Downsample2.apply(gradient, 4 * ctx.gain), None, None


class _Downsample2(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain):
        ctx.set_materialize_grads(False)
        ctx.gain = gain
        return _filtered(x, padding=1, stride=2, gain=gain)

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return None, None
        return _Upsample2.apply(gradient, ctx.gain / 4, True), None


class _Filter4(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, padding, gain):
        ctx.set_materialize_grads(False)
        ctx.padding, ctx.gain = padding, gain
        return _filtered(x, padding=padding, stride=1, gain=gain)

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return None, None, None
        return filter4(gradient, padding=3 - ctx.padding, gain=ctx.gain), None, None


def _filtered(x: Tensor, *, padding: int, stride: int, gain: float) -> Tensor:
    channels = x.shape[1]
    weight = (resample_filter() * gain).to(x).expand(channels, 1, 4, 4)
    return F.conv2d(x, weight, padding=padding, stride=stride, groups=channels)


def _doubled_channels_last(x: Tensor, gain: float) -> Tensor:
    n, channels, rows, columns = x.shape
    shape = n, channels, 2 * rows, 2 * columns
    result = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    launch(kernels.doubled, 2 * n * rows, [floats(x), floats(result), rows, columns, channels, gain], x.device)
    return result


def _doubled(x: Tensor, dim: int) -> Tensor:
    """Twice the size along one of the last two dimensions, by taps 3/4 and 1/4.

    0.25 b is exact, so that fused and plain additions round alike (torch's bilinear kernel rounds by its vector's
    width, and with it by the number of channels).
    """
    length = x.shape[dim]
    padded = F.pad(x, (0, 0, 1, 1) if dim == 2 else (1, 1))
    middle = x * 0.75
    even = torch.add(middle, padded.narrow(dim, 0, length), alpha=0.25)
    odd = torch.add(middle, padded.narrow(dim, 2, length), alpha=0.25)
    return torch.stack([even, odd], dim=dim + 1).flatten(dim, dim + 1)


def convolve(x: Tensor, weight: Tensor, *, up: int = 1, down: int = 1) -> Tensor:
    """3x3 or 1x1 convolution of (N, C, H, W) with `weight` (O, C, k, k), resampled by two either way.

    `up=2` is a true (flipped) transposed convolution followed by the filter, everything else is a correlation, as in
    the published weights.
    """
    if up == 2:
        return filter4(doubled(x, weight.transpose(0, 1)), padding=1, gain=4.0)
    if weight.shape[-1] == 1:
        return pointwise(downsample2(x) if down == 2 else x, weight[:, :, 0, 0])
    return halved(filter4(x, padding=2), weight) if down == 2 else conv3x3(x, weight)


def laid_out(weight: Tensor, resolution: int, *, up: int = 1, down: int = 1) -> Tensor:
    """The weight (O, C, k, k) laid out in memory as its convolution of pictures of side `resolution` reads it.

    Values, shape and name of the parameter do not change, so that checkpoints are the same.
    """
    if up == 2:
        return weight.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1)
    # Winograd's way, which large pictures go (`conv3x3`), reads plain filters.
    return weight.contiguous(memory_format=torch.channels_last) if resolution <= DIRECT or down == 2 else weight


def modulated_convolve(
    x: Tensor, weight: Tensor, styles: Tensor, *, up: int = 1, weight_gain: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Convolution whose input channels are scaled by `styles`, and what gives its output channels unit variance.

    The styles scale the smaller of the activations, so that all samples share one weight, and a single sample's weight.
    "Demodulation" by rsqrt(sum of squares of the modulated weight + 1e-8) per output channel is left to what follows.

    Args:
        x: (N, C, H, W), float32 or a half type; `weight` and `styles` stay float32.
        weight: (O, C, k, k), raw.
        styles: (N, C).
        up: 1 or 2.
        weight_gain: what the weight is multiplied by; it moves to the demodulation, which saves a copy of the weight.

    Returns:
        (N, O, H * up, W * up) of x's type, a fresh tensor that nothing else refers to; and (N, O) float32, by which
        it is to be multiplied.
    """
    if x.dtype == torch.float16:
        # float16 overflows long before 1e-8 matters: both factors are made at most one, which demodulation undoes.
        largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
        weight, weight_gain = weight / (math.sqrt(weight[0].numel()) * largest), 1.0
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    power = modulated_power(weight, styles) * weight_gain**2
    scale = (power + 1e-8).rsqrt() * weight_gain
    if len(x) == 1 and weight.numel() < x.numel():
        weight = weight * styles[0, :, None, None]
    else:
        x = x * styles.to(x.dtype)[:, :, None, None]
    return convolve(x, weight.to(x.dtype), up=up), scale


def modulated_power(weight: Tensor, styles: Tensor) -> Tensor:
    """(N, O) sum of the squares of the weight (O, C, k, k) times styles (N, C) along its inputs.

    Read in the order in which it lies in memory (`laid_out`), this is one product.
    """
    squares, taps = weight.square(), weight[0, 0].numel()
    if weight.stride(0) == 1:
        return styles.square().repeat_interleave(taps, dim=1) @ squares.permute(1, 2, 3, 0).flatten(0, 2)
    if weight.stride(1) == 1:
        return styles.square().repeat(1, taps) @ squares.permute(0, 2, 3, 1).flatten(1).T
    return styles.square().repeat_interleave(taps, dim=1) @ squares.flatten(1).T


def normalise_second_moment(x: Tensor, dim: int = 1) -> Tensor:
    """x / sqrt(mean x^2 + 1e-8) along `dim`."""
    return x * (x.square().mean(dim=dim, keepdim=True) + 1e-8).rsqrt()


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """(N, 1, H, W): the deviation across groups of samples, averaged over channels and pixels.

    Groups take every (N / group)-th sample. A group of one has no deviation and gives the constant 1e-4.
    """
    n, channels, height, width = x.shape
    if group == 1:
        return x.new_full((n, 1, height, width), 1e-4)
    size = min(group, n)
    while n % size:
        size -= 1
    grouped = x.reshape(size, n // size, channels, height, width).float()
    centred = grouped - grouped.mean(dim=0, keepdim=True)
    deviation = (centred.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (N / size,)
    return deviation.repeat(size).reshape(n, 1, 1, 1).expand(n, 1, height, width).to(x.dtype)
