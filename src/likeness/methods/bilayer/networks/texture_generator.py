"""From identity embeddings to the high-frequency texture of a person."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from likeness.methods.bilayer.networks.adaptive import Predicted
from likeness.methods.bilayer.networks.blocks import channels_at
from likeness.methods.bilayer.networks.generator import Generator
from likeness.methods.bilayer.networks.options import NetworkOptions
from likeness.methods.bilayer.networks.projector import Projector


class TextureGenerator(nn.Module):
    """Embeddings -> texture (B, 3, S, S) in [-1, 1]; `dropout` acts before the output head while training."""

    def __init__(self, options: NetworkOptions, dropout: float = 0.0):
        super().__init__()
        rule = (options.tex_num_channels, options.tex_max_channels)
        size = options.tex_input_tensor_size
        self.gen_tex_input = nn.Parameter(torch.randn(1, channels_at(options.levels, *rule), size, size))
        self.gen_tex = Generator(options.levels, rule, size, "ada_spade_bn", (3,), dropout, efficient_upsampling=False)
        self.prj_tex = Projector(options.levels, (options.emb_num_channels, options.emb_max_channels), rule, "spade")

    def project(self, embeddings: Sequence[Tensor]) -> list[Predicted]:
        """The parameter groups that these embeddings stand for."""
        return self.prj_tex(embeddings)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        constant = self.gen_tex_input.expand(embeddings[0].shape[0], -1, -1, -1)
        return torch.tanh(self.gen_tex(constant, self.project(embeddings))[0])
