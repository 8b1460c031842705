"""Patch discriminators on single frames and on triples of frames at growing distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.methods.neural_actor.vid2vid.blocks import ConvBlock

TRIPLE = 3
"""Frames that a temporal discriminator sees."""
STEP = 3
"""Growth of the distance between those frames from one temporal discriminator to the next."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the discriminators; the defaults are the published ones."""

    image_filters: int = 32
    """First layer's channels of the image discriminator."""
    image_layers: int = 4
    """Layers of stride 2 of the image discriminator."""
    image_scales: int = 2
    """Picture sizes that it judges."""
    temporal: int = 3
    """Temporal discriminators; number s sees frames 3^s apart."""
    temporal_filters: int = 64
    """First layer's channels of a temporal discriminator."""
    temporal_layers: int = 3
    """Layers of stride 2 of a temporal discriminator."""
    temporal_scales: int = 3
    """Picture sizes that it judges."""
    max_filters: int = 512
    """Limit of the channels."""


@dataclass(frozen=True)
class Judged:
    """What one discriminator says at one picture size."""

    features: list[Tensor]
    """Outputs of the layers before the last, (B, C, h, w)."""
    scores: Tensor
    """(B, 1, h, w); high for real."""


class PatchDiscriminator(nn.Module):
    """Layers of stride 2, one of stride 1, and a score for each patch."""

    def __init__(self, inputs: int, filters: int, layers: int, max_filters: int, instance_norm: bool):
        super().__init__()
        channels = [inputs] + [min(max_filters, filters * 2**level) for level in range(layers + 1)]
        for index, (before, after) in enumerate(zip(channels, channels[1:])):
            stride = 2 if index < layers else 1
            block = ConvBlock(before, after, 4, stride=stride, padding=1, instance_norm=instance_norm)
            self.add_module(f"layer{index}", nn.Sequential(block))
        self.add_module(f"layer{layers + 1}", nn.Sequential(ConvBlock(channels[-1], 1, active=False)))

    def forward(self, picture: Tensor) -> Judged:
        outputs = [picture]
        for layer in self.children():
            outputs.append(layer(outputs[-1]))
        return Judged(outputs[1:-1], outputs[-1].float())


class MultiScaleDiscriminator(nn.Module):
    """The same patch discriminator, with weights of its own, at full, half, quarter, ... size."""

    def __init__(self, inputs: int, filters: int, layers: int, scales: int, max_filters: int, instance_norm: bool):
        super().__init__()
        for scale in range(scales):
            patch = PatchDiscriminator(inputs, filters, layers, max_filters, instance_norm)
            self.add_module(f"discriminator_{scale}", patch)

    def forward(self, picture: Tensor) -> list[Judged]:
        judged = []
        for index, discriminator in enumerate(self.children()):
            if index > 0:
                picture = F.interpolate(
                    picture, scale_factor=0.5, mode="bilinear", align_corners=True, recompute_scale_factor=True
                )
            judged.append(discriminator(picture))
        return judged


class TextureDiscriminator(nn.Module):
    """All discriminators under their published names: `net_D` on frames, `net_DT0`, `net_DT1`, ... on triples."""

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config, self.temporal = config, config.temporal
        self.net_D = MultiScaleDiscriminator(
            6, config.image_filters, config.image_layers, config.image_scales, config.max_filters, instance_norm=True
        )
        for scale in range(config.temporal):
            network = MultiScaleDiscriminator(
                3 * TRIPLE,
                config.temporal_filters,
                config.temporal_layers,
                config.temporal_scales,
                config.max_filters,
                instance_norm=False,
            )
            self.add_module(f"net_DT{scale}", network)

    def judge_image(self, label: Tensor, image: Tensor) -> list[Judged]:
        """Label and picture, (B, 3, H, W) each."""
        return self.net_D(torch.cat([label, image], dim=1))

    def judge_triple(self, scale: int, frames: Tensor) -> list[Judged]:
        """Frames (B, 3, 3, H, W), oldest first, 3^scale apart."""
        return self.get_submodule(f"net_DT{scale}")(frames.flatten(1, 2))


def triple(frames: Sequence[Tensor], scale: int) -> Tensor | None:
    """The last of `frames` (B, 3, H, W) with the two before it that are 3^scale apart, (B, 3, 3, H, W).

    None while there are too few frames.
    """
    step = STEP**scale
    if len(frames) < (TRIPLE - 1) * step + 1:
        return None
    return torch.stack([frames[-1 - 2 * step], frames[-1 - step], frames[-1]], dim=1)
