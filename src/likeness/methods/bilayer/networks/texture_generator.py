"""From identity embeddings to the high-frequency texture of a person."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks.adaptive import Predicted, make_norm
from likeness.methods.bilayer.networks.blocks import ResBlock, channels_at
from likeness.methods.bilayer.networks.options import NetworkOptions
from likeness.methods.bilayer.networks.projector import Projector


class _Generator(nn.Module):
    def __init__(self, options: NetworkOptions, dropout: float):
        super().__init__()
        rule = (options.tex_num_channels, options.tex_max_channels)
        levels = options.levels
        blocks: list[nn.Module] = []
        for k in range(levels):
            blocks.append(
                ResBlock(
                    channels_at(levels - k, *rule),
                    channels_at(levels - k - 1, *rule),
                    norm="ada_spade_bn",
                    # The first input is the same for everybody: there is nothing to adapt.
                    first_norm="bn" if k == 0 else None,
                    resize="nearest",
                    skip="ada_conv",
                    spatial_size=options.tex_input_tensor_size * 2**k,
                )
            )
        final = make_norm("ada_spade_bn", channels_at(0, *rule), options.image_size)
        assert final is not None
        self.blocks = nn.ModuleList([*blocks, final])
        self.dropout = dropout
        self.heads = nn.ModuleList([nn.Sequential(nn.Conv2d(channels_at(0, *rule), 3, 3, padding=1))])

    def forward(self, x: Tensor, predicted: Sequence[Predicted]) -> Tensor:
        groups = iter(predicted)
        for block in self.blocks[:-1]:
            x, _ = block(x, groups)
        x = F.leaky_relu(self.blocks[-1](x, groups), 0.2, inplace=True)
        if self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        return torch.tanh(self.heads[0](x))


class TextureGenerator(nn.Module):
    """Embeddings -> texture (B, 3, S, S) in [-1, 1]; `dropout` acts before the output head while training."""

    def __init__(self, options: NetworkOptions, dropout: float = 0.0):
        super().__init__()
        rule = (options.tex_num_channels, options.tex_max_channels)
        size = options.tex_input_tensor_size
        self.gen_tex_input = nn.Parameter(torch.randn(1, channels_at(options.levels, *rule), size, size))
        self.gen_tex = _Generator(options, dropout)
        self.prj_tex = Projector(options.levels, (options.emb_num_channels, options.emb_max_channels), rule, "spade")

    def project(self, embeddings: Sequence[Tensor]) -> list[Predicted]:
        """The parameter groups that these embeddings stand for."""
        return self.prj_tex(embeddings)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        constant = self.gen_tex_input.expand(embeddings[0].shape[0], -1, -1, -1)
        return self.gen_tex(constant, self.project(embeddings))
