"""From a picture to a pyramid of features that conditions the generator."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.neural_actor.vid2vid.blocks import ConvBlock


class Embedder(nn.Module):
    """Encoder and decoder over `len(channels) - 1` halvings.

    Args:
        inputs: channels of the picture.
        channels: of the pyramid, finest first.
        skips: give every decoder step but the deepest the encoder's map of equal size too.
    """

    def __init__(self, inputs: int, channels: list[int], skips: bool = False):
        super().__init__()
        self.depth, self.skips = len(channels) - 1, skips
        self.conv_first = ConvBlock(inputs, channels[0])
        for level in range(self.depth):
            self.add_module(f"down_{level}", ConvBlock(channels[level], channels[level + 1], stride=2))
        for level in reversed(range(self.depth)):
            doubled = skips and level < self.depth - 1
            self.add_module(f"up_{level}", ConvBlock(channels[level + 1] * (2 if doubled else 1), channels[level]))

    def forward(self, picture: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> maps of 1, 1/2, 1/4, ... of its size, finest first."""
        encoded = [self.conv_first(picture)]
        for level in range(self.depth):
            encoded.append(self.get_submodule(f"down_{level}")(encoded[-1]))
        pyramid = [encoded[-1]]
        for level in reversed(range(self.depth)):
            values = pyramid[0]
            if self.skips and level < self.depth - 1:
                values = torch.cat([values, encoded[level + 1]], dim=1)
            pyramid.insert(0, self.get_submodule(f"up_{level}")(F.interpolate(values, scale_factor=2)))
        return pyramid
