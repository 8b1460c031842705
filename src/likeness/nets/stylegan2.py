"""StyleGAN2's generator: mapping network, synthesis blocks with skip sums.

Source: Karras et al. 2020, "skip generator". Parameter and buffer names, shapes and order are those of the published
PyTorch networks, so that their state dictionaries load as they are.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likeness.nets.activation import lrelu, scaled_lrelu_
from likeness.nets.stylegan2_ops import (
    SQRT2,
    laid_out,
    modulated_convolve,
    normalise_second_moment,
    resample_filter,
    upsample2,
)

CONV_CLAMP = 256.0
NoiseSource = Callable[[tuple[int, ...], torch.device], Tensor]
"""Draws N(0, 1) of a shape; the caller decides from which generator."""
Noise = NoiseSource | str
"""A source of fresh noise, or "const" (the stored buffers), or "none"."""


def random_noise(generator: torch.Generator | None = None) -> NoiseSource:
    """Fresh noise at every layer, from `generator` (on its own device) or from torch's global one."""

    def draw(shape: tuple[int, ...], device: torch.device) -> Tensor:
        source = device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=source).to(device)

    return draw


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """C(r) = min(channel_base // r, channel_max)."""
    return min(channel_base // resolution, channel_max)


class EqualisedLinear(nn.Module):
    """y = act(x (W lr_mult / sqrt(fan_in))^T + b lr_mult); W is stored as N(0, 1) / lr_mult."""

    def __init__(self, inputs: int, outputs: int, *, lr_mult: float = 1.0, bias_init: float = 0.0, linear: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mult)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        gain = 1.0 if linear else SQRT2
        self.weight_gain, self.bias_gain = gain * lr_mult / math.sqrt(inputs), gain * lr_mult
        self.linear = linear

    def forward(self, x: Tensor, unit: Tensor | None = None) -> Tensor:
        """(N, inputs) -> (N, outputs); `unit` (N,) ones stand before the bias, see `Discriminator.forward`."""
        weight, bias = self.weight.to(x.dtype).T, self.bias.to(x.dtype)
        if unit is not None:
            bias = unit[:, None] * bias
        # The gain goes to the smaller factor: as `alpha` it would be another pass over the weight's gradient.
        y = torch.addmm(bias, x * self.weight_gain, weight, beta=self.bias_gain)
        return y if self.linear else lrelu(y)


class Mapping(nn.Module):
    """z (N, z_dim) -> w (N, w_dim); keeps the running mean of w that truncation pulls towards."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, *, layers: int = 8, w_avg_decay: float = 0.995):
        super().__init__()
        self.z_dim, self.w_dim, self.layers, self.w_avg_decay = z_dim, w_dim, layers, w_avg_decay
        self.register_buffer("w_avg", torch.zeros(w_dim))
        for index in range(layers):
            width = z_dim if index == 0 else w_dim
            self.add_module(f"fc{index}", EqualisedLinear(width, w_dim, lr_mult=0.01, linear=False))

    def forward(self, z: Tensor) -> Tensor:
        """(N, w_dim). In training mode `w_avg` moves by 0.005 towards the batch's mean, without gradient too."""
        w = normalise_second_moment(z.float())
        for index in range(self.layers):
            w = self.get_submodule(f"fc{index}")(w).float()
        if self.training:
            # copy_ under no_grad rather than a new tensor: a buffer keeps its identity for the checkpoint and for DDP.
            with torch.no_grad():
                self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_decay))
        return w


def truncate(w: Tensor, centre: Tensor, psi: float, num_ws: int, cutoff: int | None = None) -> Tensor:
    """Repeat w (N, w_dim) to (N, num_ws, w_dim) and pull the first `cutoff` copies (default all) to `centre`."""
    ws = w.unsqueeze(1).repeat(1, num_ws, 1)
    if psi == 1.0:
        return ws
    cutoff = num_ws if cutoff is None else cutoff
    return torch.cat([centre.lerp(ws[:, :cutoff], psi), ws[:, cutoff:]], dim=1)


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, *, up: int, clamp: float | None):
        super().__init__()
        self.resolution, self.up, self.clamp = resolution, up, clamp
        self.register_buffer("resample_filter", resample_filter())
        self.affine = EqualisedLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(laid_out(torch.randn(outputs, inputs, 3, 3), resolution, up=up))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1 / math.sqrt(inputs * 9)

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """(N, C, H, W), (N, w_dim) -> (N, O, resolution, resolution)."""
        if noise == "none":
            drawn = None
        elif noise == "const":
            drawn = self.noise_const[None, None]
        else:
            assert callable(noise)
            drawn = noise((len(x), 1, self.resolution, self.resolution), x.device)
        y, scale = modulated_convolve(x, self.weight, self.affine(w), up=self.up, weight_gain=self.weight_gain)
        strength = None if drawn is None else self.noise_strength
        return scaled_lrelu_(y, scale, self.bias, noise=drawn, strength=strength, gain=SQRT2, bound=self.clamp)


class ToImage(nn.Module):
    """Modulated 1x1 convolution without demodulation, bias, clamp: features to colour, alpha or depth."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, clamp: float | None):
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = EqualisedLinear(w_dim, inputs, bias_init=1.0)
        self.weight_gain = 1 / math.sqrt(inputs)

    def kernel(self, w: Tensor) -> Tensor:
        """(N, O, C) the sample's own linear map, style and gain included."""
        styles = self.affine(w) * self.weight_gain
        return self.weight[:, :, 0, 0] * styles[:, None]

    def linear(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, H, W), biased but not clamped."""
        y = torch.bmm(self.kernel(w).to(x.dtype), x.flatten(2)).unflatten(2, x.shape[2:])
        return y + self.bias.to(x.dtype)[:, None, None]

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return clamped(self.linear(x, w), self.clamp)


def clamped(x: Tensor, bound: float | None) -> Tensor:
    """x within +-bound, or x."""
    return x if bound is None else x.clamp(-bound, bound)


class SynthesisBlock(nn.Module):
    """One resolution: (up) conv0, conv1, and the torgb that reads their features."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, resolution: int, *, clamp: float | None):
        super().__init__()
        self.resolution, self.channels = resolution, outputs
        self.register_buffer("resample_filter", resample_filter())
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, resolution, up=2, clamp=clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, resolution, up=1, clamp=clamp)
        self.torgb = ToImage(outputs, 3, w_dim, clamp=clamp)

    def features(self, x: Tensor | None, ws: Sequence[Tensor], noise: Noise, dtype: torch.dtype) -> Tensor:
        """Features of the block below (None at 4x4) -> features (N, C, r, r). `ws`: styles of conv0, conv1, torgb."""
        if x is None:
            x = self.const.to(dtype).unsqueeze(0).expand(len(ws[1]), -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = self.conv0(x.to(dtype), ws[0], noise)
        return self.conv1(x, ws[1], noise)


class Synthesis(nn.Module):
    """Blocks b4, b8, ... bR, whose torgb outputs add up as upsampled skips."""

    block_type: type[SynthesisBlock] = SynthesisBlock

    def __init__(
        self, w_dim: int, resolution: int, *, channel_base: int, channel_max: int, half_blocks: int = 4, **block_options
    ):
        super().__init__()
        self.w_dim, self.resolution, self.half_blocks = w_dim, resolution, half_blocks
        self.resolutions = [2**k for k in range(2, int(math.log2(resolution)) + 1)]
        self.num_ws = 2 * len(self.resolutions)
        clamp = CONV_CLAMP if resolution > 128 else None
        below = 0
        for r in self.resolutions:
            width = channels_at(r, channel_base, channel_max)
            self.add_module(f"b{r}", self.block_type(below, width, w_dim, r, clamp=clamp, **block_options))
            below = width

    def walk(self, ws: Tensor, noise: Noise, half: torch.dtype | None):
        """Yield (block, features, styles of its conv0, conv1 and torgb) from 4x4 upwards.

        Args:
            ws: (N, num_ws, w_dim).
            noise: see `Noise`.
            half: type of the features of the `half_blocks` highest resolutions, None for float32 everywhere.
        """
        styles = ws.float().unbind(1)
        x = None
        for level, r in enumerate(self.resolutions):
            block: Any = self.get_submodule(f"b{r}")
            low = half is not None and level >= len(self.resolutions) - self.half_blocks
            first = max(2 * level - 1, 0)
            own = styles[first], styles[2 * level], styles[2 * level + 1]
            x = block.features(x, own, noise, half if low and half is not None else torch.float32)
            yield block, x, own

    def forward(self, ws: Tensor, noise: Noise = "const", half: torch.dtype | None = None) -> Tensor:
        """(N, num_ws, w_dim) -> picture (N, 3, R, R), nominally in [-1, 1]."""
        image = None
        for block, x, styles in self.walk(ws, noise, half):
            y = block.torgb(x, styles[2]).float()
            image = y if image is None else upsample2(image) + y
        assert image is not None
        return image


class Generator(nn.Module):
    """The 2-D StyleGAN2 generator."""

    def __init__(
        self,
        resolution: int,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_layers: int = 8,
    ):
        super().__init__()
        self.z_dim, self.w_dim, self.resolution = z_dim, w_dim, resolution
        self.synthesis = Synthesis(w_dim, resolution, channel_base=channel_base, channel_max=channel_max)
        self.mapping = Mapping(z_dim, w_dim, layers=mapping_layers)

    def forward(self, z: Tensor, *, psi: float = 1.0, noise: Noise = "const") -> Tensor:
        """(N, z_dim) -> picture (N, 3, R, R), nominally in [-1, 1]."""
        ws = truncate(self.mapping(z), self.mapping.w_avg, psi, self.synthesis.num_ws)
        return self.synthesis(ws, noise)
