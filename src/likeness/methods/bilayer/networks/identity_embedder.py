"""From source images and their stickmen to one embedding a generator level."""

from math import log2

import torch
from torch import Tensor, nn

from likeness.methods.bilayer.networks import convolution
from likeness.methods.bilayer.networks.blocks import ResBlock, channels_at
from likeness.methods.bilayer.networks.options import NetworkOptions
from likeness.methods.bilayer.networks.warp import masked


class _Encoder(nn.Module):
    def __init__(self, options: NetworkOptions):
        super().__init__()
        base, most = options.emb_num_channels, options.emb_max_channels
        halvings = int(log2(options.image_size // options.emb_output_tensor_size))
        enc: list[nn.Module] = [nn.Conv2d(3 if options.emb_no_stickman else 6, base, 3, padding=1)]
        enc += [
            ResBlock(channels_at(i, base, most), channels_at(i + 1, base, most), resize="avgpool")
            for i in range(halvings)
        ]
        widths = [channels_at(halvings, base, most)]
        widths += [channels_at(options.levels - 1 - k, base, most) for k in range(options.levels)]
        self.enc = nn.ModuleList(enc)
        self.dec_blocks = nn.ModuleList(ResBlock(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: Tensor, frames_per_person: int) -> list[Tensor]:
        x = self.enc[0](x)
        for index in range(1, len(self.enc)):
            last = index == len(self.enc) - 1
            x, _ = self.enc[index](x, frames_per_person=frames_per_person if last else 1)
        embeddings = []
        for block in self.dec_blocks:
            x, features = block(x)
            embeddings.append(features[0])
        return embeddings


class IdentityEmbedder(nn.Module):
    """Source images -> embeddings (B, C_k, 8, 8), k = 0..levels-1: the features of the same-resolution blocks.

    Several sources of a person are averaged after the last downsampling block. The last block's second convolution and
    skip therefore reach no output and receive no gradient.
    """

    def __init__(self, options: NetworkOptions):
        super().__init__()
        self.options = options
        self.net = _Encoder(options)

    def forward(self, imgs: Tensor, stickmen: Tensor, segs: Tensor | None) -> list[Tensor]:
        """Embed.

        Args:
            imgs: (B, N, 3, S, S) in [-1, 1].
            stickmen: (B, N, 3, S, S), the landmarks of `imgs` drawn.
            segs: (B, N, 1, S, S) in [0, 1]; needed when the embedder masks its input.
        """
        if self.options.emb_apply_masks:
            if segs is None:
                raise ValueError("this identity embedder masks its input and needs segmentations")
            imgs = masked(imgs, segs)
        x = imgs if self.options.emb_no_stickman else torch.cat((imgs, stickmen), 2)
        return self.net(convolution.laid_out(x.flatten(0, 1)), x.shape[1])
