"""Real or predicted: a patch discriminator on a picture and its stickman."""

from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks import convolution
from likeness.methods.bilayer.networks.adaptive import make_norm
from likeness.methods.bilayer.networks.blocks import ResBlock, channels_at
from likeness.methods.bilayer.networks.options import NetworkOptions


@dataclass(frozen=True)
class Judgement:
    """Scores and features of the two halves of a batch, which share their BatchNorm statistics."""

    real_scores: Tensor
    """(N, 1, 8, 8)."""
    fake_scores: Tensor
    """(N, 1, 8, 8)."""
    real_features: list[Tensor]
    fake_features: list[Tensor]


class _Net(nn.Module):
    def __init__(self, options: NetworkOptions):
        super().__init__()
        rule = (options.dis_num_channels, options.dis_max_channels)
        halvings = int(log2(options.image_size // options.dis_output_tensor_size))
        self.first_conv = nn.Conv2d(3 if options.dis_no_stickman else 6, rule[0], 3, padding=1)
        blocks = []
        for i in range(options.dis_num_blocks):
            blocks.append(
                ResBlock(
                    channels_at(min(i, halvings) if i < halvings else i, *rule),
                    channels_at(i + 1, *rule),
                    norm="bn",
                    resize="avgpool" if i < halvings else "none",
                )
            )
        self.blocks = nn.ModuleList(blocks)
        final = channels_at(options.dis_num_blocks, *rule)
        norm = make_norm("bn", final)
        assert norm is not None
        self.final_block = nn.Sequential(norm)
        self.linear = nn.Conv2d(final, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.first_conv(x)
        features = []
        for block in self.blocks:
            x, feats = block(x)
            features.append(feats[0])
        return self.linear(F.leaky_relu(self.final_block(x), 0.2)), features


class Discriminator(nn.Module):
    """Scores (N, 1, 8, 8) and the features of every block, for real and predicted pictures in one pass."""

    def __init__(self, options: NetworkOptions):
        super().__init__()
        self.no_stickman = options.dis_no_stickman
        self.net = _Net(options)

    def forward(self, real: Tensor, fake: Tensor, stickmen: Tensor) -> Judgement:
        """Judge real and fake (N, 3, S, S) beside the same stickmen (N, 3, S, S)."""
        pictures = torch.cat((real, fake))
        if not self.no_stickman:
            pictures = torch.cat((pictures, torch.cat((stickmen, stickmen))), 1)
        scores, features = self.net(convolution.laid_out(pictures))
        count = real.shape[0]
        return Judgement(scores[:count], scores[count:], [f[:count] for f in features], [f[count:] for f in features])
