"""The pre-activation residual block that every network of this method is built from."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks.adaptive import (
    AdaptiveNorm,
    Predictions,
    SpadeNorm,
    adaptive_conv,
    apply_norm,
    make_norm,
)
from likeness.methods.bilayer.networks.convolution import Convolution, add_upsampled

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

        def conv(inner: int, outer: int, size: int | None, scaling: str = "none") -> list[nn.Module]:
            biased = pixelwise_bias == "none"
            layers: list[nn.Module]
            if scaling == "nearest" and biased and not separable_conv:
                # The identity keeps the convolution at its published position.
                return [nn.Identity(), Convolution(inner, outer, "nearest")]
            if scaling == "avgpool" and biased and not separable_conv:
                return [Convolution(inner, outer, "avgpool")]
            if separable_conv:
                layers = [nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.Conv2d(outer, outer, 1, bias=biased)]
            else:
                layers = [Convolution(inner, outer) if biased else nn.Conv2d(inner, outer, 3, padding=1, bias=False)]
            if not biased:
                if size is None:
                    raise ValueError("a pixel bias needs the spatial size of its input")
                layers.append(PixelBias(outer, size))
            if scaling in UP:
                return [Upsample(scaling), *layers]
            return layers if scaling == "none" else [*layers, _pool(scaling)]

        def act(inplace: bool) -> nn.Module:
            return nn.LeakyReLU(0.2, inplace) if activation == "leakyrelu" else nn.ReLU(inplace)

        norm1 = make_norm(first_norm or norm, in_channels, spatial_size)
        norm2 = make_norm(norm, out_channels, middle)
        # Without a norm in front, the first activation sees the block's own input, which the skip path needs.
        first = [act(False)] if norm1 is None else [norm1, act(True)]
        rest = conv(in_channels, out_channels, middle, resize if early else "none")
        rest += [act(True)] if norm2 is None else [norm2, act(True)]
        self.block_first_feats = nn.Sequential(*first) if split_first else None
        self.block_feats = nn.Sequential(*(rest if split_first else first + rest))
        self.block = nn.Sequential(*conv(out_channels, out_channels, last, "none" if early else resize))
        shortcut: list[nn.Module] = [Upsample(resize)] if up else []
        if up or down or in_channels != out_channels:
            shortcut.append(PredictedConv() if skip == "ada_conv" else nn.Conv2d(in_channels, out_channels, 1))
        if down:
            shortcut.append(_pool(resize))
        # A 1x1 convolution commutes with upsampling and with averaging, and is cheaper on the smaller picture.
        self.skip_order = list(range(len(shortcut)))
        if up or resize == "avgpool":
            self.skip_order.reverse()
        self.repeated = resize == "nearest"
        if self.repeated:
            self.skip_order.pop()  # done while adding
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
        shortcut = _run([self.skip[index] for index in self.skip_order], x, groups)
        out = add_upsampled(out, shortcut) if self.repeated else out.add_(shortcut)
        if frames_per_person > 1:
            out = out.reshape(-1, frames_per_person, *out.shape[1:]).mean(1)
        return out, features


def _pool(kind: str) -> nn.Module:
    return nn.AvgPool2d(2) if kind == "avgpool" else nn.MaxPool2d(2)


def _run(layers: Sequence[nn.Module] | nn.Sequential, x: Tensor, predictions: Predictions) -> Tensor:
    for layer in layers:
        if isinstance(layer, PredictedConv):
            x = layer(x, predictions)
        elif isinstance(layer, AdaptiveNorm | SpadeNorm):
            x = apply_norm(layer, x, predictions)
        else:
            x = layer(x)
    return x
