"""The network that guesses how the previous frame moves to the present one, and the warp itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.neural_actor.vid2vid.blocks import ConvBlock

PIXELS = 20
"""Scale of the flow head."""


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Read `picture` (B, C, H, W) at x + flow(x), bilinear, its border repeated.

    Args:
        picture: what is moved.
        flow: (B, 2, H, W) right and down, in pixels.
    """
    # Half precision would round the grid to several pixels.
    picture, flow = picture.float(), flow.float()
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=flow.device, dtype=flow.dtype),
        torch.linspace(-1, 1, width, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    scale = flow.new_tensor([(width - 1) / 2, (height - 1) / 2])
    grid = torch.stack([x, y], dim=-1) + flow.permute(0, 2, 3, 1) / scale  # (B, H, W, 2)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=True)


class FlowResBlock(nn.Module):
    """Convolution, norm, LeakyReLU, convolution, norm; added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block_0 = ConvBlock(channels, channels, instance_norm=True)
        self.conv_block_1 = ConvBlock(channels, channels, instance_norm=True, active=False)

    def forward(self, values: Tensor) -> Tensor:
        return values + self.conv_block_1(self.conv_block_0(values))


class FlowNetwork(nn.Module):
    """Flow (B, 2, H, W) in pixels and mask (B, 1, H, W) in [0, 1] of the previous frame.

    Args:
        label_channels: of all frames' labels together.
        image_channels: of all previous frames together.
        filters: channels of the stems' first layer; each of three halvings doubles them.
        blocks: residual blocks in the middle.
    """

    def __init__(self, label_channels: int, image_channels: int, filters: int = 32, blocks: int = 6):
        super().__init__()
        sizes = [filters * 2**level for level in range(4)]
        self.down_lbl = _stem(label_channels, sizes)
        self.down_img = _stem(image_channels, sizes)
        self.res_flow = nn.Sequential(*(FlowResBlock(sizes[-1]) for _ in range(blocks)))
        steps: list[nn.Module] = []
        for inputs, outputs in zip(sizes[:0:-1], sizes[-2::-1]):
            steps += [nn.Upsample(scale_factor=2), ConvBlock(inputs, outputs, instance_norm=True)]
        self.up_flow = nn.Sequential(*steps)
        self.conv_flow = nn.Sequential(ConvBlock(filters, 2, active=False, spectral=False))
        self.conv_mask = nn.Sequential(ConvBlock(filters, 1, active=False, spectral=False), nn.Sigmoid())

    def forward(self, label: Tensor, previous_labels: Tensor, previous_images: Tensor) -> tuple[Tensor, Tensor]:
        """Label (B, C, H, W), its predecessors (B, K, C, H, W) and their pictures (B, K, 3, H, W), oldest first."""
        labels = torch.cat([previous_labels.flatten(1, 2), label], dim=1)
        hidden = self.down_lbl(labels) + self.down_img(previous_images.flatten(1, 2))
        hidden = self.up_flow(self.res_flow(hidden))
        return self.conv_flow(hidden) * PIXELS, self.conv_mask(hidden)


def _stem(inputs: int, sizes: list[int]) -> nn.Sequential:
    first = ConvBlock(inputs, sizes[0], instance_norm=True)
    pairs = zip(sizes, sizes[1:])
    return nn.Sequential(first, *(ConvBlock(each, after, stride=2, instance_norm=True) for each, after in pairs))
