"""The generator of texture maps, one frame at a time."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.errors import UserError
from likeness.methods.neural_actor.vid2vid.blocks import ConvBlock, SpadeResBlock, activate
from likeness.methods.neural_actor.vid2vid.embedder import Embedder
from likeness.methods.neural_actor.vid2vid.flow_network import FlowNetwork, warp

DEPTH = 5
"""Halvings between a picture and the deepest map."""
FIRST_DEPTH = 7
"""Halvings between a picture and the seed of the first frame."""
WARP_LEVELS = 3
"""Finest blocks that also see the warped previous frame."""
RES_BLOCKS = 4
BRIGHTEST = 0.98
"""Where the mean picture is held before its inverse tanh: nearer to 1 nothing could be learned any more."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of the generator; the defaults are the published ones."""

    size: int = 512
    """Side of labels and pictures: a multiple of 128, at least 256."""
    filters: int = 32
    """Channels at full size; every halving doubles them."""
    max_filters: int = 1024
    """Limit of that."""
    latent: int = 256
    """Length of the first frame's latent vector."""
    frames: int = 3
    """Frames a step sees: the present one and its predecessors; with 1 each map is made by itself, without flow."""
    flow_filters: int = 32
    """Channels of the flow network at full size."""
    flow_blocks: int = 6
    """Residual blocks of the flow network."""
    mean_picture: bool = False
    """Begin at the mean training picture and learn what differs from it; published is no such start."""

    def __post_init__(self) -> None:
        if self.size < 256 or self.size % 128:
            raise UserError(f"size {self.size}: the texture predictor needs a multiple of 128, at least 256")
        if self.frames < 1:
            raise UserError(f"frames {self.frames}: the texture predictor needs 1 at least, the present one")

    def channels(self, level: int) -> int:
        """Channels after `level` halvings."""
        return min(self.max_filters, self.filters * 2**level)


@dataclass(frozen=True)
class Generated:
    """One frame in [-1, 1], and how its predecessor was moved where there were enough of them."""

    image: Tensor
    flow: Tensor | None = None
    """(B, 2, H, W) pixels."""
    mask: Tensor | None = None
    """(B, 1, H, W) in [0, 1]; near 1 where the warped predecessor is not to be trusted."""
    warped: Tensor | None = None
    """(B, 3, H, W)."""


class TextureGenerator(nn.Module):
    """Label and previous frames to the present texture map; module names are the published state keys."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        channels = [config.channels(level) for level in range(DEPTH + 1)]
        self.label_embedding = Embedder(3, channels)
        for level in reversed(range(FIRST_DEPTH + 1)):
            inputs, outputs = config.channels(level + 1), config.channels(level)
            if level >= DEPTH:
                inputs = outputs = channels[DEPTH]
            self.add_module(f"up_{level}", SpadeResBlock(inputs, outputs, self._conditions(level)))
        self.conv_img = ConvBlock(channels[0], 3, active=False, spectral=False)
        self.side = config.size // 2**FIRST_DEPTH
        self.fc = _Linear(config.latent, channels[DEPTH] * self.side**2)
        if config.frames > 1:
            self._add_history(channels)
        start = torch.zeros(3, config.size, config.size) if config.mean_picture else None
        self.register_buffer("before_tanh", start)

    def _add_history(self, channels: list[int]) -> None:
        config = self.config
        self.down_first = ConvBlock(3, channels[0], active=False, spectral=False)
        for level in range(DEPTH):
            block = SpadeResBlock(channels[level], channels[level + 1], self._conditions(level))
            self.add_module(f"down_{level}", block)
        for index in range(RES_BLOCKS):
            self.add_module(f"res_{index}", SpadeResBlock(channels[DEPTH], channels[DEPTH], [channels[DEPTH]]))
        previous = config.frames - 1
        self.flow_network_temp = FlowNetwork(3 * config.frames, 3 * previous, config.flow_filters, config.flow_blocks)
        self.img_prev_embedding = Embedder(4, channels, skips=True)

    def _conditions(self, level: int) -> list[int]:
        channels = self.config.channels(min(level, DEPTH))
        return [channels, channels] if level < WARP_LEVELS and self.config.frames > 1 else [channels]

    def forward(
        self,
        label: Tensor,
        previous_labels: Tensor | None = None,
        previous_images: Tensor | None = None,
        latent: Tensor | None = None,
    ) -> Generated:
        """One frame.

        Args:
            label: (B, 3, H, W) in [-1, 1].
            previous_labels: (B, K, 3, H, W), oldest first; none for the first frame. The last `frames - 1` count.
            previous_images: their pictures, (B, K, 3, H, W) in [-1, 1].
            latent: (B, latent) of the first frame; zeros where absent.
        """
        embedding = self.label_embedding(label)
        if previous_labels is None or previous_images is None or self.config.frames == 1:
            return Generated(self._decode(self._first(embedding, latent), embedding, [None] * WARP_LEVELS))
        wanted = self.config.frames - 1
        previous_labels, previous_images = previous_labels[:, -wanted:], previous_images[:, -wanted:]
        hidden = self._follow(previous_images[:, -1], previous_labels[:, -1], embedding)
        if previous_images.shape[1] < wanted:
            return Generated(self._decode(hidden, embedding, [None] * WARP_LEVELS))
        flow, mask = self.flow_network_temp(label, previous_labels, previous_images)
        warped = warp(previous_images[:, -1], flow)
        moved = self.img_prev_embedding(torch.cat([warped, mask], dim=1))
        return Generated(self._decode(hidden, embedding, moved[:WARP_LEVELS]), flow, mask, warped)

    def _first(self, embedding: list[Tensor], latent: Tensor | None) -> Tensor:
        deepest = embedding[DEPTH]
        if latent is None:
            latent = deepest.new_zeros(len(deepest), self.config.latent)
        hidden = self.fc(latent).view(len(deepest), -1, self.side, self.side)
        for level in range(FIRST_DEPTH, DEPTH - 1, -1):
            hidden = F.interpolate(self.get_submodule(f"up_{level}")(hidden, deepest), scale_factor=2)
        return hidden

    def _follow(self, image: Tensor, label: Tensor, embedding: list[Tensor]) -> Tensor:
        before = self.label_embedding(label)
        hidden = self.down_first(image)
        for level in range(DEPTH):
            hidden = self.get_submodule(f"down_{level}")(hidden, before[level])
            if level < DEPTH - 1:
                hidden = F.avg_pool2d(hidden, 3, 2, 1)
        for index in range(RES_BLOCKS):
            condition = (before if index < RES_BLOCKS // 2 else embedding)[DEPTH]
            hidden = self.get_submodule(f"res_{index}")(hidden, condition)
        return hidden

    def _decode(self, hidden: Tensor, embedding: list[Tensor], moved: list[Tensor] | list[None]) -> Tensor:
        for level in range(DEPTH - 1, -1, -1):
            conditions = [embedding[level], *(moved[level : level + 1] if level < WARP_LEVELS else [])]
            hidden = self.get_submodule(f"up_{level}")(hidden, *conditions)
            if level > 0:
                hidden = F.interpolate(hidden, scale_factor=2)
        values = self.conv_img(activate(hidden)).float()
        return torch.tanh(values if self.before_tanh is None else values + self.before_tanh)


def set_mean_picture(generator: nn.Module, mean: Tensor) -> None:
    """Let a generator with `mean_picture` start at `mean` (3, H, W) in [-1, 1]."""
    generator.get_buffer("before_tanh").copy_(mean.clamp(-BRIGHTEST, BRIGHTEST).atanh())


class _Linear(nn.Module):
    """A linear layer under the published key `layers.conv`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleDict({"conv": nn.Linear(inputs, outputs)})

    def forward(self, values: Tensor) -> Tensor:
        return self.layers["conv"](values)
