"""Building blocks of the deep appearance model: globally normalised weights, layers with a bias of each texel."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.multiface.convolutions import Layer, column
from likeness.methods.multiface.weight_norm import global_norm, normed_kernel, normed_linear

SLOPE = 0.2
"""Of every leaky rectifier."""


class LinearWN(nn.Linear):
    """y = g_o (W x)_o / ||W||_F + b, with one norm for the whole matrix."""

    g: nn.Parameter

    def __init__(self, inputs: int, outputs: int, slope: float = SLOPE):
        super().__init__(inputs, outputs)
        self.g = nn.Parameter(torch.empty(outputs))
        _initialise(self.weight, inputs + outputs, 1, slope)
        _finish(self)

    def forward(self, x: Tensor) -> Tensor:
        return normed_linear(x, self.weight, self.g, self.bias)


class Convolution(nn.Conv2d):
    """A convolution with padding 1 that adds texel biases and rectifies on the way."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__(inputs, outputs, kernel, stride, padding=1)

    def effective(self) -> Tensor:
        """The kernel that is applied."""
        return self.weight

    def layer(self, texel_bias: Tensor | None = None, *, rectify: bool = False) -> Layer:
        """Its part of a column."""
        slope = SLOPE if rectify else None
        return Layer(self.effective(), self.bias, texel_bias, stride=self.stride[0], slope=slope)

    def forward(self, x: Tensor, texel_bias: Tensor | None = None, *, rectify: bool = False) -> Tensor:
        return column(x, [self.layer(texel_bias, rectify=rectify)])


class Conv2dWN(Convolution):
    """A convolution whose effective kernel is g_o W_o / ||W||_F."""

    g: nn.Parameter

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__(inputs, outputs, kernel, stride)
        self.g = nn.Parameter(torch.empty(outputs))
        _initialise(self.weight, inputs + outputs, kernel**2, SLOPE)
        _finish(self)

    def effective(self) -> Tensor:
        return normed_kernel(self.weight, self.g, axis=0)


class Deconvolution(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 2 that adds texel biases and rectifies on the way."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 4, 2, padding=1)

    def effective(self) -> Tensor:
        """The kernel that is applied."""
        return self.weight

    def layer(self, texel_bias: Tensor | None = None, *, rectify: bool = False) -> Layer:
        """Its part of a column."""
        slope = SLOPE if rectify else None
        return Layer(self.effective(), self.bias, texel_bias, stride=2, transposed=True, slope=slope)

    def forward(self, x: Tensor, texel_bias: Tensor | None = None, *, rectify: bool = False) -> Tensor:  # type: ignore[override]
        return column(x, [self.layer(texel_bias, rectify=rectify)])


class ConvTranspose2dWN(Deconvolution):
    """A transposed convolution with weight norm; the gain runs over the output channels (the kernel's second axis)."""

    g: nn.Parameter

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.g = nn.Parameter(torch.empty(outputs))
        _initialise(self.weight, inputs + outputs, 4, SLOPE)
        with torch.no_grad():
            # All four phases start alike: the layer starts as nearest-neighbour upsampling.
            taps = self.weight[:, :, 0::2, 0::2].clone()
            for row, column in ((0, 1), (1, 0), (1, 1)):
                self.weight[:, :, row::2, column::2] = taps
        _finish(self)

    def effective(self) -> Tensor:
        return normed_kernel(self.weight, self.g, axis=1)


class UpsampleConvolution(Convolution):
    """Nearest-neighbour upsampling by 2, then a 3x3 convolution (variant `bilinear`, named so by its authors)."""

    def forward(self, x: Tensor, texel_bias: Tensor | None = None, *, rectify: bool = False) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2), texel_bias, rectify=rectify)


class UpsampleConvWN(UpsampleConvolution, Conv2dWN):
    """The same with weight norm."""

    def __init__(self, inputs: int, outputs: int):
        Conv2dWN.__init__(self, inputs, outputs, 3)


class TexelDeconv(nn.Module):
    """Upsampling by 2 plus a learned bias (1, C, size, size) of each texel; size 1 makes it one a channel."""

    def __init__(self, inputs: int, outputs: int, size: int, kind: type[nn.Module]):
        super().__init__()
        self.deconv = kind(inputs, outputs)
        # It lies in memory as the pictures do that it is added to: no transposition in any step.
        bias = torch.zeros(1, outputs, size, size).contiguous(memory_format=torch.channels_last)
        self.bias = nn.Parameter(bias)

    def layer(self, *, rectify: bool) -> Layer:
        """Its part of a column."""
        return self.deconv.layer(self.bias, rectify=rectify)  # type: ignore[operator]

    def forward(self, x: Tensor, *, rectify: bool) -> Tensor:
        return self.deconv(x, self.bias, rectify=rectify)


class DownBlock(nn.Module):
    """Two 4x4 convolutions of stride 2, each with its rectifier and, for `res`, a residual 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int, residual: bool):
        super().__init__()
        self.conv1 = Conv2dWN(inputs, outputs, 4, 2)
        self.conv2 = Conv2dWN(outputs, outputs, 4, 2)
        self.res1 = Conv2dWN(outputs, outputs, 3) if residual else None
        self.res2 = Conv2dWN(outputs, outputs, 3) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        if self.res1 is None or self.res2 is None:
            return column(x, [self.conv1.layer(rectify=True), self.conv2.layer(rectify=True)])
        for conv, residual in ((self.conv1, self.res1), (self.conv2, self.res2)):
            x = conv(x, rectify=True)
            x = F.leaky_relu_(residual(x) + x, SLOPE)
        return x


class UpBlock(nn.Module):
    """Two texel-bias deconvolutions: size f to 2f to 4f.

    Args:
        inputs, hidden, outputs: channels before, between and after.
        size: f, the side of the input.
        residual: add the 3x3 convolutions of `res`.
        kind: the upsampling layer.
        texel_bias: one bias a texel; otherwise one a channel (variant `non`).
        last: leave the output without its rectifier.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        size: int,
        *,
        residual: bool = False,
        kind: type[nn.Module] = ConvTranspose2dWN,
        texel_bias: bool = True,
        last: bool = False,
    ):
        super().__init__()
        self.last = last
        self.conv1 = TexelDeconv(inputs, hidden, 2 * size if texel_bias else 1, kind)
        self.conv2 = TexelDeconv(hidden, outputs, 4 * size if texel_bias else 1, kind)
        self.res1 = Conv2dWN(hidden, hidden, 3) if residual else None
        self.res2 = Conv2dWN(outputs, outputs, 3) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        if self.res1 is None and isinstance(self.conv1.deconv, Deconvolution):
            return column(x, [self.conv1.layer(rectify=True), self.conv2.layer(rectify=not self.last)])
        x = self.conv1(x, rectify=True)
        if self.res1 is not None:
            x = F.leaky_relu_(self.res1(x) + x, SLOPE)
        x = self.conv2(x, rectify=not self.last)
        if self.res2 is not None:
            x = self.res2(x) + x
            if not self.last:
                x = F.leaky_relu_(x, SLOPE)
        return x


def initialise_plain(conv: nn.Conv2d) -> nn.Conv2d:
    """Start a convolution without weight norm from the same law, with gain 1 (a linear output)."""
    _initialise(conv.weight, conv.in_channels + conv.out_channels, conv.kernel_size[0] * conv.kernel_size[1], 1.0)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def fold(module: nn.Module) -> nn.Module:
    """A plain copy of `module` for inference: norms and gains go into kernels, channel biases into texel biases.

    Outputs stay the same up to rounding; what it returns cannot be trained on. Call `.to(memory_format=
    torch.channels_last)` on it for the fastest convolutions on a CPU.
    """
    folded: nn.Module
    if isinstance(module, LinearWN):
        folded = nn.Linear(module.in_features, module.out_features, device="meta")
        folded.weight = _frozen(module.weight * (module.g / global_norm(module.weight))[:, None])
        folded.bias = _frozen(module.bias)
        return folded
    if isinstance(module, TexelDeconv):
        folded = TexelDeconv.__new__(TexelDeconv)
        nn.Module.__init__(folded)
        folded.deconv = fold(module.deconv)
        folded.deconv.register_parameter("bias", None)
        bias = module.bias + module.deconv.bias[None, :, None, None]  # type: ignore[index]
        folded.bias = _frozen(bias.contiguous(memory_format=torch.channels_last))
        return folded
    if isinstance(module, Conv2dWN | ConvTranspose2dWN):
        if isinstance(module, ConvTranspose2dWN):
            folded = Deconvolution(module.in_channels, module.out_channels)
        else:
            kind = UpsampleConvolution if isinstance(module, UpsampleConvWN) else Convolution
            folded = kind(module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0])
        folded.weight, folded.bias = _frozen(module.effective()), _frozen(module.bias)
        return folded
    folded = module.__class__.__new__(module.__class__)
    folded.__dict__.update({key: value for key, value in module.__dict__.items()})
    folded._modules = {name: None if child is None else fold(child) for name, child in module._modules.items()}
    folded._parameters = {name: None if p is None else _frozen(p) for name, p in module._parameters.items()}
    folded._buffers = dict(module._buffers)
    return folded


def _frozen(value: Tensor | None) -> nn.Parameter:
    assert value is not None
    return nn.Parameter(value.detach().clone(), requires_grad=False)


def _initialise(weight: Tensor, channels: int, area: int, slope: float) -> None:
    bound = math.sqrt(3.0) * math.sqrt(2.0 / (1.0 + slope**2)) * math.sqrt(2.0 / (channels * area))
    nn.init.uniform_(weight, -bound, bound)


def _finish(layer: LinearWN | Conv2dWN | ConvTranspose2dWN) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    nn.init.constant_(layer.g, float(global_norm(layer.weight.detach())))
    if layer.weight.ndim == 4:
        # The order in which convolutions read it and write its gradient.
        layer.weight = nn.Parameter(layer.weight.detach().contiguous(memory_format=torch.channels_last))
