"""From normalised landmarks to the input tensor of the inference generator."""

import math

import torch
from torch import Tensor, nn

from likeness.methods.bilayer.networks.blocks import channels_at
from likeness.methods.bilayer.networks.options import NetworkOptions

POSE_SIZE = 136


def harmonics(poses: Tensor, count: int) -> Tensor:
    """[sin, cos] of `poses * pi * 2 ** j`, j < count: (..., P) -> (..., 2 * P * count).

    The frequencies of one coordinate are adjacent; all sines come before all cosines.
    """
    frequencies = math.pi * 2 ** torch.arange(count, dtype=poses.dtype, device=poses.device)
    angles = (poses[..., None] * frequencies).flatten(-2)
    return torch.cat((angles.sin(), angles.cos()), -1)


class _Mlp(nn.Module):
    def __init__(self, widths: list[int]):
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class KeypointsEmbedder(nn.Module):
    """Poses (N, 136) in [-1, 1] -> (N, C, s, s), s the inference generator's input tensor size."""

    def __init__(self, options: NetworkOptions):
        super().__init__()
        self.num_harmonics = options.pse_num_harmonics if options.pse_use_harmonic_enc else 0
        self.size = options.inf_input_tensor_size
        out = channels_at(options.levels, options.inf_num_channels, options.inf_max_channels) * self.size**2
        first = POSE_SIZE * (2 * self.num_harmonics or 1)
        self.net = _Mlp([first] + [options.pse_num_channels] * (options.pse_num_blocks - 1) + [out])

    def forward(self, poses: Tensor) -> Tensor:
        x = harmonics(poses, self.num_harmonics) if self.num_harmonics else poses
        return self.net(x).reshape(poses.shape[0], -1, self.size, self.size)
