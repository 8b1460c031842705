"""The pre-activation residual block that every network of this method is built from, and spectral normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.spectral_norm import SpectralNorm

from likeness.methods.bilayer.networks.adaptive import (
    EPS,
    AdaptiveNorm,
    Predictions,
    SpadeNorm,
    adaptive_conv,
    apply_norm,
    make_norm,
)

DOWN = ("avgpool", "maxpool", "pixelunshuffle")
UP = ("nearest", "bilinear", "pixelshuffle")


def channels_at(level: int, base: int, most: int) -> int:
    """The channel rule of every network: `min(base * 2 ** level, most)`."""
    return min(base * 2**level, most)


class Upsample(nn.Module):
    """Double height and width: nearest or bilinear."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "nearest":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class PixelBias(nn.Module):
    """A learned bias of its own for every channel and pixel (`fixed`), in place of a convolution's bias."""

    def __init__(self, channels: int, spatial_size: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, spatial_size, spatial_size))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class PredictedConv(nn.Module):
    """A 1x1 convolution whose weights arrive with the call; it marks the place where a generator takes a group."""

    def forward(self, x: Tensor, predictions: Predictions) -> Tensor:
        return adaptive_conv(x, next(predictions))


class ResBlock(nn.Module):
    """Pre-activation residual block.

    ```
    f = [norm1] act [up] conv3 [pixel bias] [norm2] act     module block_feats, the feature output
    y = [up if efficient] conv3 [pixel bias] [down]         module block
    s = [up] conv1 [down], or the input itself              module skip
    out = y + s, or its mean over the frames of a person
    ```
    The skip path sees the raw input. Positions in the three sequences are those of the published checkpoints.

    Args:
        in_channels, out_channels: channels of input and output.
        norm: a name of `make_norm`.
        resize: none, avgpool, maxpool, nearest or bilinear.
        activation: leakyrelu (slope 0.2) or relu.
        efficient_upsampling: upsample before the second convolution instead of the first one.
        first_norm: the norm before the first activation when it differs from `norm`.
        skip: conv, or ada_conv for a predicted one.
        separable_conv: each 3x3 convolution is followed by a 1x1 one that carries the bias.
        pixelwise_bias: none or fixed; needs `spatial_size`.
        spatial_size: height of the input, for spade norms and pixel biases.
        split_first: keep norm1 and the first activation as a feature output of their own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: str = "none",
        resize: str = "none",
        activation: str = "leakyrelu",
        efficient_upsampling: bool = False,
        first_norm: str | None = None,
        skip: str = "conv",
        separable_conv: bool = False,
        pixelwise_bias: str = "none",
        spatial_size: int | None = None,
        split_first: bool = False,
    ):
        super().__init__()
        up, down = resize in UP, resize in DOWN
        if not (up or down or resize == "none") or "pixel" in resize:
            raise ValueError(f"unknown resizing {resize!r}")
        if pixelwise_bias not in ("none", "fixed"):
            raise ValueError(f"unknown pixel bias {pixelwise_bias!r}")
        early = up and not efficient_upsampling
        middle = None if spatial_size is None else spatial_size * (2 if early else 1)
        last = None if spatial_size is None else spatial_size * (2 if up else 1)

        def conv(inner: int, outer: int, size: int | None) -> list[nn.Module]:
            biased = pixelwise_bias == "none"
            if separable_conv:
                layers: list[nn.Module] = [
                    nn.Conv2d(inner, outer, 3, padding=1, bias=False),
                    nn.Conv2d(outer, outer, 1, bias=biased),
                ]
            else:
                layers = [nn.Conv2d(inner, outer, 3, padding=1, bias=biased)]
            if not biased:
                if size is None:
                    raise ValueError("a pixel bias needs the spatial size of its input")
                layers.append(PixelBias(outer, size))
            return layers

        act = nn.LeakyReLU(0.2) if activation == "leakyrelu" else nn.ReLU()
        first = [
            layer for layer in (make_norm(first_norm or norm, in_channels, spatial_size), act) if layer is not None
        ]
        rest: list[nn.Module] = [Upsample(resize)] if early else []
        rest += conv(in_channels, out_channels, middle)
        rest += [layer for layer in (make_norm(norm, out_channels, middle), act) if layer is not None]
        self.block_first_feats = nn.Sequential(*first) if split_first else None
        self.block_feats = nn.Sequential(*(rest if split_first else first + rest))
        block: list[nn.Module] = [Upsample(resize)] if up and efficient_upsampling else []
        block += conv(out_channels, out_channels, last)
        self.pool = {"avgpool": nn.AvgPool2d(2), "maxpool": nn.MaxPool2d(2)}.get(resize)
        self.block = nn.Sequential(*block)
        shortcut: list[nn.Module] = [Upsample(resize)] if up else []
        if up or down or in_channels != out_channels:
            shortcut.append(PredictedConv() if skip == "ada_conv" else nn.Conv2d(in_channels, out_channels, 1))
        self.skip = nn.Sequential(*shortcut)

    def forward(
        self, x: Tensor, predictions: Predictions | None = None, *, frames_per_person: int = 1
    ) -> tuple[Tensor, list[Tensor]]:
        """Apply the block.

        Args:
            x: (N, in, H, W).
            predictions: parameter groups of the adaptive layers, consumed in the order norm1, norm2, skip.
            frames_per_person: with more than one, the output is the mean over that many consecutive images.

        Returns:
            The output, and the feature outputs in order.
        """
        groups = iter(()) if predictions is None else predictions
        features = []
        hidden = x
        if self.block_first_feats is not None:
            hidden = _run(self.block_first_feats, hidden, groups)
            features.append(hidden)
        hidden = _run(self.block_feats, hidden, groups)
        features.append(hidden)
        out = self.block(hidden)
        if len(self.skip) == 0:
            shortcut = x
        elif isinstance(self.skip[-1], PredictedConv) and len(self.skip) == 2:
            # A 1x1 convolution commutes with nearest and bilinear upsampling, and costs a quarter before it.
            shortcut = self.skip[0](self.skip[1](x, groups))
        else:
            shortcut = _run(self.skip, x, groups)
        if self.pool is not None:
            out, shortcut = self.pool(out), self.pool(shortcut)
        out = out + shortcut
        if frames_per_person > 1:
            out = out.reshape(-1, frames_per_person, *out.shape[1:]).mean(1)
        return out, features


def _run(layers: Sequence[nn.Module] | nn.Sequential, x: Tensor, predictions: Predictions) -> Tensor:
    for layer in layers:
        if isinstance(layer, PredictedConv):
            x = layer(x, predictions)
        elif isinstance(layer, AdaptiveNorm | SpadeNorm):
            x = apply_norm(layer, x, predictions)
        else:
            x = layer(x)
    return x


def add_spectral_norm(network: nn.Module) -> nn.Module:
    """Divide the weight of every convolution and linear layer by an estimate of its largest singular value, in place.

    One power iteration a training call, output channels as rows. Each layer then owns `weight_orig`, `weight_u` and
    `weight_v`, the names of the published checkpoints. Predicted layers own no weight and are left alone.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.utils.spectral_norm(module, eps=EPS)
    return network


def settle_spectral_norm(network: nn.Module, iterations: int = 5) -> None:
    """Take power iterations, in place: a fresh network divides by the product of two random directions, about zero."""
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                with torch.no_grad():
                    for _ in range(iterations):
                        hook.compute_weight(module, do_power_iteration=True)


def fold_spectral_norm(network: nn.Module) -> nn.Module:
    """Divide once and for all, in place: the network computes the same and can no longer be trained further."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
    return network
