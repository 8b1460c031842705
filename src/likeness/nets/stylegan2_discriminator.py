"""StyleGAN2's residual discriminator, optionally conditioned on a vector (GMPI's camera pose).

Source: Karras et al. 2020, "residual discriminator"; the pose head is that of Zhao et al., ECCV 2022, section 3.3.
Names, shapes and order are those of the published networks.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from likeness.nets.activation import scaled_lrelu_
from likeness.nets.stylegan2 import CONV_CLAMP, EqualisedLinear, channels_at
from likeness.nets.stylegan2_ops import (
    SQRT2,
    convolve,
    laid_out,
    minibatch_deviation,
    normalise_second_moment,
    resample_filter,
)


class EqualisedConv(nn.Module):
    """Convolution with run-time weight scaling, bias, leaky ReLU, optional halving."""

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        resolution: int,
        down: int = 1,
        bias: bool = True,
        clamp: float | None = None,
    ):
        super().__init__()
        self.down, self.clamp = down, clamp
        self.register_buffer("resample_filter", resample_filter())
        self.weight = nn.Parameter(laid_out(torch.randn(outputs, inputs, size, size), resolution, down=down))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_gain = 1 / math.sqrt(inputs * size * size)

    def forward(self, x: Tensor, gain: float = 1.0, unit: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, O, H / down, W / down). Without a bias there is no activation either (the skip)."""
        weight: Tensor = self.weight
        factor = self.weight_gain * (gain if self.bias is None else 1.0)
        # What follows scales for nothing; where nothing does, or a half type would overflow, the smaller side is.
        early = self.bias is None or x.dtype != torch.float32
        if early and x.numel() < weight.numel():
            x = x * factor
        elif early:
            weight = weight * factor
        y = convolve(x, weight.to(x.dtype), down=self.down)
        if self.bias is None:
            return y
        bound = None if self.clamp is None else self.clamp * gain
        scale = 1.0 if early else factor
        return scaled_lrelu_(y, scale, self.bias, gain=gain * SQRT2, bound=bound, unit=unit)


class ResidualBlock(nn.Module):
    """conv0, halving conv1 and a halving skip, each weighted sqrt(1/2)."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, resolution: int, *, first: bool, clamp: float | None):
        super().__init__()
        self.register_buffer("resample_filter", resample_filter())
        if first:
            self.fromrgb = EqualisedConv(3, inputs, 1, resolution=resolution, clamp=clamp)
        self.conv0 = EqualisedConv(inputs, inputs, 3, resolution=resolution, clamp=clamp)
        self.conv1 = EqualisedConv(inputs, outputs, 3, resolution=resolution, down=2, clamp=clamp)
        self.skip = EqualisedConv(inputs, outputs, 1, resolution=resolution, down=2, bias=False)

    def forward(self, x: Tensor, unit: Tensor | None = None) -> Tensor:
        half = math.sqrt(0.5)
        return self.skip(x, gain=half).add_(self.conv1(self.conv0(x, unit=unit), gain=half, unit=unit))


class Epilogue(nn.Module):
    """At 4x4: minibatch deviation, conv, fc, and the `out` vector."""

    def __init__(self, channels: int, outputs: int, *, group: int, clamp: float | None):
        super().__init__()
        self.group = group
        self.conv = EqualisedConv(channels + 1, channels, 3, resolution=4, clamp=clamp)
        self.fc = EqualisedLinear(channels * 16, channels, linear=False)
        self.out = EqualisedLinear(channels, outputs)

    def forward(self, x: Tensor, unit: Tensor | None = None) -> Tensor:
        extra = minibatch_deviation(x, self.group) if self.group else torch.zeros_like(x[:, :1])
        if unit is not None:
            extra = extra * unit[:, None, None, None]
        y = self.conv(torch.cat([x, extra], dim=1), unit=unit)
        return self.out(self.fc(y.flatten(1), unit), unit)


class Discriminator(nn.Module):
    """Pictures in [-1, 1] (and a condition) -> realness logits.

    Args:
        resolution: side of the picture.
        condition_dim: length of the condition, 0 for none. GMPI: 16 (world-to-camera) or 9 (its rotation).
        embedding_dim: length of the condition's embedding.
        group: minibatch-deviation group; 1 gives the constant 1e-4, 0 gives zeros.
    """

    def __init__(
        self,
        resolution: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        condition_dim: int = 0,
        embedding_dim: int = 16,
        group: int = 4,
        half_blocks: int = 4,
    ):
        super().__init__()
        self.resolution, self.condition_dim, self.half_blocks = resolution, condition_dim, half_blocks
        self.resolutions = [2**k for k in range(int(math.log2(resolution)), 2, -1)]
        clamp = CONV_CLAMP if resolution > 128 else None
        for r in self.resolutions:
            inputs = channels_at(r, channel_base, channel_max)
            outputs = channels_at(r // 2, channel_base, channel_max)
            self.add_module(f"b{r}", ResidualBlock(inputs, outputs, r, first=r == resolution, clamp=clamp))
        if condition_dim:
            self.mapping = nn.Linear(condition_dim, embedding_dim)
        last = channels_at(4, channel_base, channel_max)
        self.b4 = Epilogue(last, embedding_dim if condition_dim else 1, group=group, clamp=clamp)

    @property
    def separate(self) -> bool:
        """Whether a sample's logit depends on that sample alone."""
        return self.b4.group <= 1

    def forward(
        self,
        image: Tensor,
        condition: Tensor | None = None,
        half: torch.dtype | None = None,
        unit: Tensor | None = None,
    ) -> Tensor:
        """(N, 3, R, R) in [-1, 1] and (N, condition_dim) -> logits (N, 1).

        `unit` (N,) are ones which stand before every constant of the network (biases, clamps, the deviation of a group
        of one): the logit is positively homogeneous in picture and unit, where samples are `separate`.
        """
        x = image.contiguous(memory_format=torch.channels_last)
        for level, r in enumerate(self.resolutions):
            block: Any = self.get_submodule(f"b{r}")
            x = x.to(half if half is not None and level < self.half_blocks else torch.float32)
            if level == 0:
                x = block.fromrgb(x, unit=unit)
            x = block(x, unit)
        scores = self.b4(x.float(), unit)
        if not self.condition_dim:
            return scores
        if condition is None:
            raise ValueError(f"this discriminator is conditioned on {self.condition_dim} numbers, none were given")
        embedding = normalise_second_moment(self.mapping(condition))
        return (scores * embedding).sum(dim=1, keepdim=True) / math.sqrt(embedding.shape[1])
