"""The ResNet34 trunk that turns a texture map into a map of features (He et al., CVPR 2016, table 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.neural_actor.texture_maps import FeatureMaps
from likeness.nets.convolution import Conv2d

BLOCKS = (3, 4, 6, 3)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, values: Tensor) -> Tensor:
        shortcut = values if self.downsample is None else self.downsample(values)
        hidden = F.relu(self.bn1(self.conv1(values)), inplace=True)
        return F.relu(self.bn2(self.conv2(hidden)).add_(shortcut), inplace=True)


class Trunk(nn.Module):
    """ResNet34 without pooling and classifier; `width` 64 and `blocks` (3, 4, 6, 3) are the published ones."""

    def __init__(self, width: int = 64, blocks: tuple[int, ...] = BLOCKS):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for level, count in enumerate(blocks):
            outputs = width * 2**level
            stages = [
                BasicBlock(inputs if index == 0 else outputs, outputs, 2 if index == 0 and level > 0 else 1)
                for index in range(count)
            ]
            self.add_module(f"layer{level + 1}", nn.Sequential(*stages))
            inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # Convolutions, pooling and normalisation all run faster with channels last, in weights and maps.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, texture: Tensor, levels: int) -> list[Tensor]:
        """The first `levels` maps: conv1 (1/2), layer1 (1/4), layer2 (1/8), ..."""
        texture = texture.contiguous(memory_format=torch.channels_last)
        maps = [F.relu(self.bn1(self.conv1(texture)), inplace=True)]
        hidden = F.max_pool2d(maps[0], 3, 2, 1)
        for level in range(1, levels):
            hidden = getattr(self, f"layer{level}")(hidden)
            maps.append(hidden)
        return maps


class TextureEncoder(nn.Module):
    """Texture (1, 3, H, W) in [0, 1] -> maps of its features, the first of H/2 x W/2.

    With `levels` 1 to 5 the channels of all maps together are width times 1, 2, 4, 8, 16.
    """

    def __init__(self, levels: int = 4, width: int = 64, blocks: tuple[int, ...] = BLOCKS):
        super().__init__()
        self.levels = levels
        self.model = Trunk(width, blocks)
        self.channels = width * 2 ** (levels - 1)

    def forward(self, texture: Tensor) -> FeatureMaps:
        return FeatureMaps.of(self.model(texture, self.levels))
