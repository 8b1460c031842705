"""Convolution blocks of the texture predictor, and the spectral norm that training puts on them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm, spectral_norm

SLOPE = 0.2


def activate(values: Tensor) -> Tensor:
    """LeakyReLU of the whole system."""
    return F.leaky_relu(values, SLOPE)


class ConvBlock(nn.Module):
    """One convolution under the published key `layers.conv`, optionally followed by `layers.norm` and LeakyReLU.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: its side; the padding keeps the size of a stride of 1 where not given.
        stride: of the convolution.
        padding: zeros on each side.
        instance_norm: an affine instance norm after the convolution.
        active: LeakyReLU at the end.
        spectral: whether `add_spectral_norm` covers this convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        instance_norm: bool = False,
        active: bool = True,
        spectral: bool = True,
    ):
        super().__init__()
        self.active, self.spectral = active, spectral
        padding = kernel // 2 if padding is None else padding
        self.layers = nn.ModuleDict({"conv": nn.Conv2d(inputs, outputs, kernel, stride, padding)})
        if instance_norm:
            self.layers["norm"] = nn.InstanceNorm2d(outputs, affine=True)

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.layers.values():
            values = layer(values)
        return activate(values) if self.active else values


class Spade(nn.Module):
    """Instance norm whose scale and shift are read from maps: y <- y (1 + gamma_i) + beta_i for each map i in turn.

    Source: Park et al., CVPR 2019, with one 1x1 convolution a map and no hidden layer. A map may be absent.
    """

    def __init__(self, channels: int, conditions: Sequence[int]):
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(ConvBlock(each, 2 * channels, 1, active=False, spectral=False)) for each in conditions
        )

    def forward(self, values: Tensor, *conditions: Tensor | None) -> Tensor:
        output = F.instance_norm(values)
        for mlp, condition in zip(self.mlps, conditions):
            if condition is None:
                continue
            # A 1x1 convolution commutes with nearest resizing; the smaller of the two grids is the cheaper one.
            shrinks = condition.shape[-2] > values.shape[-2]
            modulation = mlp(_resized(condition, values) if shrinks else condition)
            gamma, beta = _resized(modulation, values).chunk(2, dim=1)
            output = torch.addcmul(output + beta, output, gamma)
        return output


def _resized(picture: Tensor, to: Tensor) -> Tensor:
    """`picture` on the grid of `to`, by nearest cells."""
    return picture if picture.shape[-2:] == to.shape[-2:] else F.interpolate(picture, to.shape[-2:])


class SpadeConv(nn.Module):
    """Spade, LeakyReLU unless it is a shortcut, then a convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, conditions: Sequence[int], active: bool = True):
        super().__init__()
        self.active, self.spectral = active, True
        self.layers = nn.ModuleDict(
            {"norm": Spade(inputs, conditions), "conv": nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2)}
        )

    def forward(self, values: Tensor, *conditions: Tensor | None) -> Tensor:
        hidden = self.layers["norm"](values, *conditions)
        return self.layers["conv"](activate(hidden) if self.active else hidden)


class SpadeResBlock(nn.Module):
    """Two `SpadeConv` and a shortcut, which is learned where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int, conditions: Sequence[int]):
        super().__init__()
        hidden = min(inputs, outputs)
        self.conv_block_0 = SpadeConv(inputs, hidden, 3, conditions)
        self.conv_block_1 = SpadeConv(hidden, outputs, 3, conditions)
        self.conv_block_s = SpadeConv(inputs, outputs, 1, conditions, active=False) if inputs != outputs else None

    def forward(self, values: Tensor, *conditions: Tensor | None) -> Tensor:
        shortcut = values if self.conv_block_s is None else self.conv_block_s(values, *conditions)
        return shortcut + self.conv_block_1(self.conv_block_0(values, *conditions), *conditions)


def _normalised_convolutions(network: nn.Module) -> list[nn.Module]:
    blocks = [module for module in network.modules() if isinstance(module, ConvBlock | SpadeConv)]
    return [block.layers["conv"] for block in blocks if block.spectral]


def add_spectral_norm(network: nn.Module) -> nn.Module:
    """Put spectral norm on every convolution that carries one in training; returns the same network."""
    for convolution in _normalised_convolutions(network):
        spectral_norm(convolution)
    return network


def fold_spectral_norm(network: nn.Module) -> nn.Module:
    """Replace every spectral norm by the weight it computes now; returns the same network, for inference."""
    for convolution in _normalised_convolutions(network):
        remove_spectral_norm(convolution)
    return network


def initialise(network: nn.Module, gain: float = 0.02) -> nn.Module:
    """Xavier-normal weights and zero biases; to be called before `add_spectral_norm`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, gain)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return network
