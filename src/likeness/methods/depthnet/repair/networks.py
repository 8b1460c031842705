"""CycleGAN's generator (Johnson et al. 2016 as in Zhu et al. 2017) and patch discriminator (Isola et al. 2017)."""

import torch
from torch import Tensor, nn

from likeness.nets.convolution import Conv2d


def _norm(channels: int) -> nn.InstanceNorm2d:
    # In evaluation the running averages are used, not the picture's own statistics: published weights expect that.
    return nn.InstanceNorm2d(channels, affine=False, track_running_stats=True)


class ResidualBlock(nn.Module):
    """Two reflected 3x3 convolutions with instance norm, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            Conv2d(channels, channels, 3),
            _norm(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            Conv2d(channels, channels, 3),
            _norm(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.conv_block(values)


class RepairGenerator(nn.Module):
    """`resnet_9blocks`: pictures (N, inputs, H, W) in [-1, 1] -> (N, outputs, H, W) in [-1, 1]; H, W multiples of 4.

    Convolution weights start as N(0, 0.02).
    """

    def __init__(self, inputs: int, outputs: int, width: int = 64, blocks: int = 9):
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7), _norm(width), nn.ReLU()]
        for level in (1, 2):
            channels = width * 2**level
            layers += [nn.Conv2d(channels // 2, channels, 3, 2, 1), _norm(channels), nn.ReLU()]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for level in (1, 0):
            channels = width * 2**level
            layers += [nn.ConvTranspose2d(2 * channels, channels, 3, 2, 1, 1), _norm(channels), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model(pictures)


class PatchBlock(nn.Module):
    """A 4x4 convolution; the published layout stores a norm in every block, also where none is applied."""

    def __init__(self, inputs: int, outputs: int, stride: int, normalised: bool, activated: bool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 4, stride, 1)
        self.bn = _norm(outputs)
        self.normalised, self.activated = normalised, activated

    def forward(self, values: Tensor) -> Tensor:
        hidden = self.conv(values)
        hidden = self.bn(hidden) if self.normalised else hidden
        return torch.nn.functional.leaky_relu(hidden, 0.2) if self.activated else hidden


class RepairDiscriminator(nn.Module):
    """Scores of patches: (N, inputs, 80, 80) -> (N, 1, 8, 8), without output activation."""

    def __init__(self, inputs: int, width: int = 64):
        super().__init__()
        self.conv_blocks = nn.Sequential(
            PatchBlock(inputs, width, 2, False, True),
            PatchBlock(width, 2 * width, 2, True, True),
            PatchBlock(2 * width, 4 * width, 2, True, True),
            PatchBlock(4 * width, 8 * width, 1, True, True),
            PatchBlock(8 * width, 1, 1, False, False),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.conv_blocks(pictures)


NETWORKS = ("g_atob", "g_btoa", "d_a", "d_b")
"""The four networks, in the order of the published tuple."""


def build_networks(channels_a: int, channels_b: int, width: int = 64, blocks: int = 9) -> dict[str, nn.Module]:
    """The four networks by name, for domains of these channel counts (background 6 and 3, faceswap 3 and 3)."""
    return {
        "g_atob": RepairGenerator(channels_a, channels_b, width, blocks),
        "g_btoa": RepairGenerator(channels_b, channels_a, width, blocks),
        "d_a": RepairDiscriminator(channels_a, width),
        "d_b": RepairDiscriminator(channels_b, width),
    }
