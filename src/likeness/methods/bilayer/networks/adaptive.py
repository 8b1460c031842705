"""Layers whose parameters are predictions, as pure functions of (input, parameters), and the norms built on them.

A predicted layer owns no parameters: its weight and bias arrive with the call, one set a person. An input of
`B * T` images (T frames a person, person-major) uses every person's set T times.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks.spectral_norm import EPS


class Predicted(NamedTuple):
    """One predicted parameter group."""

    weight: Tensor
    """Convolution: (B, out, in, k, k); norm: (B, C), already `1 +` the prediction."""
    bias: Tensor
    """(B, out) or (B, C)."""


Predictions = Iterator[Predicted]
"""Parameter groups in the order in which a generator's layers use them."""


def adaptive_conv(x: Tensor, predicted: Predicted) -> Tensor:
    """Convolve each person's images with that person's kernel.

    Args:
        x: (B * T, in, H, W).
        predicted: weight (B, out, in, k, k), bias (B, out); k odd, "same" zero padding.

    Returns:
        (B * T, out, H, W).
    """
    weight, bias = predicted
    people, out, inner, kernel, _ = weight.shape
    count, _, height, width = x.shape
    if kernel == 1 and x.is_contiguous(memory_format=torch.channels_last):
        pixels = x.permute(0, 2, 3, 1).reshape(people, -1, inner)
        # Added afterwards, the bias is not first written to every pixel.
        mixed = torch.matmul(pixels, weight.reshape(people, out, inner).mT).add_(bias[:, None])
        return mixed.view(count, height, width, out).permute(0, 3, 1, 2)
    if kernel == 1:
        pixels = x.reshape(people, count // people, inner, height * width)
        mixed = torch.matmul(weight.reshape(people, 1, out, inner), pixels) + bias.reshape(people, 1, out, 1)
        return mixed.reshape(count, out, height, width)
    frames = count // people
    grouped = x.reshape(people, frames, inner, height, width).transpose(0, 1).reshape(frames, -1, height, width)
    mixed = F.conv2d(
        grouped, weight.reshape(-1, inner, kernel, kernel), bias.reshape(-1), padding=kernel // 2, groups=people
    )
    return mixed.reshape(frames, people, out, height, width).transpose(0, 1).reshape(count, out, height, width)


def adaptive_scale(x: Tensor, predicted: Predicted) -> Tensor:
    """`x * weight + bias` with one weight and bias a person and channel: x (B * T, C, H, W), weight and bias (B, C)."""
    weight, bias = predicted
    frames = x.shape[0] // weight.shape[0]
    if frames > 1:
        weight, bias = weight.repeat_interleave(frames, 0), bias.repeat_interleave(frames, 0)
    return torch.addcmul(bias[..., None, None], x, weight[..., None, None])


def standing(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Mean and reciprocal deviation (C,) of a BatchNorm that uses its running statistics; None for any other layer."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.training:
        return None
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, (norm.running_var + norm.eps).rsqrt()


def _statistics(kind: str, channels: int, affine: bool) -> nn.Module:
    if kind == "bn":
        return nn.BatchNorm2d(channels, eps=EPS, affine=affine)
    if kind == "in":
        return nn.InstanceNorm2d(channels, eps=EPS, affine=affine)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"unknown normalisation {kind!r}")


def folded(predicted: Predicted, mean: Tensor, reciprocal: Tensor) -> Predicted:
    """A norm by given statistics (C,), then a predicted scale and shift, as one scale and shift."""
    weight = predicted.weight * reciprocal
    return Predicted(weight, predicted.bias - mean * weight)


class AdaptiveNorm(nn.Module):
    """Normalise without affine parameters, then scale and shift with predicted ones."""

    def __init__(self, kind: str, channels: int):
        super().__init__()
        self.norm_layer = _statistics(kind, channels, affine=False)

    def forward(self, x: Tensor, predictions: Predictions) -> Tensor:
        predicted = next(predictions)
        statistics = standing(self.norm_layer)
        if statistics is None:
            return adaptive_scale(self.norm_layer(x), predicted)
        return adaptive_scale(x, folded(predicted, *statistics))


class SpadeNorm(nn.Module):
    """Normalise, then scale and shift by maps computed from a learned constant picture of features.

    The two 1x1 convolutions that make the maps are predicted (`adaptive`) or learned; the scale map is stored minus
    one. Source: Park et al., Semantic Image Synthesis with Spatially-Adaptive Normalization, with a constant as the
    condition.
    """

    def __init__(self, kind: str, channels: int, spatial_size: int, adaptive: bool):
        super().__init__()
        self.pixel_feats = nn.Parameter(torch.empty(1, channels, spatial_size, spatial_size))
        bound = 1 / (channels * spatial_size**2) ** 0.5
        nn.init.uniform_(self.pixel_feats, -bound, bound)
        self.norm_layer = _statistics(kind, channels, affine=False)
        self.conv_weight = None if adaptive else nn.Conv2d(channels, channels, 1)
        self.conv_bias = None if adaptive else nn.Conv2d(channels, channels, 1)

    def maps(self, predictions: Predictions, last: bool) -> tuple[Tensor, Tensor, bool]:
        """Scale and shift, (B, C, s, s) when predicted, (1, C, s, s) otherwise, and whether they normalise as well.

        `last`: with the channels last in memory.
        """
        if self.conv_weight is not None and self.conv_bias is not None:
            return self.conv_weight(self.pixel_feats) + 1, self.conv_bias(self.pixel_feats), False
        scale, shift = next(predictions), next(predictions)
        weight, bias = scale.weight, scale.bias + 1
        statistics = standing(self.norm_layer)
        if statistics is not None:
            mean, reciprocal = statistics
            weight, bias = weight * reciprocal[:, None, None, None], bias * reciprocal
            moved = mean[:, None, None, None] * weight
            shift = Predicted(shift.weight - moved, shift.bias - mean * bias)
        both = Predicted(torch.cat((weight, shift.weight), 1), torch.cat((bias, shift.bias), 1))
        order = torch.channels_last if last else torch.contiguous_format
        features = self.pixel_feats.expand(weight.shape[0], -1, -1, -1).contiguous(memory_format=order)
        first, second = adaptive_conv(features, both).chunk(2, 1)
        return first, second, statistics is not None

    def forward(self, x: Tensor, predictions: Predictions) -> Tensor:
        scale, shift, normalised = self.maps(predictions, x.is_contiguous(memory_format=torch.channels_last))
        x = x if normalised else self.norm_layer(x)
        frames = x.shape[0] // scale.shape[0]
        if frames > 1 and scale.shape[0] > 1:
            scale, shift = scale.repeat_interleave(frames, 0), shift.repeat_interleave(frames, 0)
        return torch.addcmul(shift, x, scale)


def make_norm(kind: str, channels: int, spatial_size: int | None = None) -> nn.Module | None:
    """The norm layer of that name, or None for `none`.

    Names: none, bn, in, ada_bn, ada_in, ada_none, spade_bn, spade_in, ada_spade_bn, ada_spade_in; the spade ones need
    the spatial size of their input.
    """
    if kind == "none":
        return None
    if "spade" in kind:
        if spatial_size is None:
            raise ValueError(f"{kind} needs the spatial size of its input")
        return SpadeNorm(kind.rsplit("_", 1)[1], channels, spatial_size, adaptive=kind.startswith("ada_"))
    if kind.startswith("ada_"):
        return AdaptiveNorm(kind.removeprefix("ada_"), channels)
    return _statistics(kind, channels, affine=True)


def apply_norm(layer: nn.Module | None, x: Tensor, predictions: Predictions) -> Tensor:
    """Call a layer made by `make_norm`, handing it the predictions if it uses any."""
    if layer is None:
        return x
    if isinstance(layer, AdaptiveNorm | SpadeNorm):
        return layer(x, predictions)
    return layer(x)
