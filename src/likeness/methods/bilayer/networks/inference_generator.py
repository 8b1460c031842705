"""From a pose embedding and a person's parameters to UV offsets, low-frequency colour and mask logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likeness.methods.bilayer.networks.adaptive import Predicted
from likeness.methods.bilayer.networks.generator import Generator
from likeness.methods.bilayer.networks.options import NetworkOptions
from likeness.methods.bilayer.networks.projector import Projector
from likeness.methods.bilayer.networks.warp import identity_grid, masked, sample


@dataclass(frozen=True)
class Layers:
    """What the generator predicts for a frame, before any mask."""

    delta_uvs: Tensor
    """(N, 2, S, S), added to the identity grid."""
    lf_rgbs: Tensor
    """(N, 3, S, S) in [-1, 1]."""
    segs_logits: Tensor
    """(N, 1, S, S)."""


@dataclass(frozen=True)
class Frame:
    """A composed frame; pictures are masked by the predicted mask when the options say so."""

    imgs: Tensor
    """(N, 3, S, S), low plus high frequencies, in (-2, 2)."""
    imgs_lf_detached: Tensor
    """The same values; no gradient reaches the low-frequency layer."""
    lf_rgbs: Tensor
    """(N, 3, S, S)."""
    hf_rgbs: Tensor
    """(N, 3, S, S), never masked."""
    uvs: Tensor
    """(N, S, S, 2)."""
    delta_uvs: Tensor
    """(N, 2, S, S)."""
    segs: Tensor
    """(N, 1, S, S) in [0, 1]."""
    segs_logits: Tensor
    """(N, 1, S, S)."""


class InferenceGenerator(nn.Module):
    """Pose embeddings (B * T, C, 4, 4) and identity embeddings -> layers of each frame."""

    identity_grid: Tensor

    def __init__(self, options: NetworkOptions, dropout: float = 0.0):
        super().__init__()
        rule = (options.inf_num_channels, options.inf_max_channels)
        self.register_buffer("identity_grid", identity_grid(options.image_size))
        size = options.inf_input_tensor_size
        self.gen_inf = Generator(options.levels, rule, size, "ada_bn", (2, 3, 1), dropout, efficient_upsampling=True)
        self.prj_inf = Projector(options.levels, (options.emb_num_channels, options.emb_max_channels), rule, "norm")

    def project(self, embeddings: Sequence[Tensor]) -> list[Predicted]:
        """The parameter groups that these embeddings stand for."""
        return self.prj_inf(embeddings)

    def forward(self, pose_embeds: Tensor, predicted: Sequence[Predicted]) -> Layers:
        delta_uvs, lf_rgbs, segs_logits = self.gen_inf(pose_embeds, predicted)
        return Layers(torch.tanh(delta_uvs), torch.tanh(lf_rgbs), segs_logits)


def compose(layers: Layers, texture: Tensor, grid: Tensor, apply_masks: bool) -> Frame:
    """Warp the texture by the predicted field, add the low-frequency layer, mask.

    Args:
        layers: N predictions.
        texture: (N, 3, S, S).
        grid: the identity grid (1, S, S, 2).
        apply_masks: mask pictures by the predicted mask, which then receives no gradient from them.
    """
    uvs = grid + layers.delta_uvs.permute(0, 2, 3, 1)
    hf = sample(texture, uvs)
    lf = layers.lf_rgbs
    imgs, imgs_lf_detached = lf + hf, lf.detach() + hf
    segs = torch.sigmoid(layers.segs_logits)
    if apply_masks:
        mask = segs.detach()
        imgs, imgs_lf_detached, lf = (masked(picture, mask) for picture in (imgs, imgs_lf_detached, lf))
    return Frame(imgs, imgs_lf_detached, lf, hf, uvs, layers.delta_uvs, segs, layers.segs_logits)
