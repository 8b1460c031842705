"""Learned gradient descent on the texture: a few updates that bring a prediction of the source to the source."""

from math import log2

import torch
from torch import Tensor, nn

from likeness.methods.bilayer.networks import convolution
from likeness.methods.bilayer.networks.blocks import ResBlock, channels_at
from likeness.methods.bilayer.networks.inference_generator import Frame
from likeness.methods.bilayer.networks.options import NetworkOptions
from likeness.methods.bilayer.networks.warp import masked, sample


class _Net(nn.Module):
    def __init__(self, options: NetworkOptions):
        super().__init__()
        rule = (options.enh_num_channels, options.enh_max_channels)
        halvings = int(log2(options.image_size // options.enh_bottleneck_tensor_size))
        blocks: list[nn.Module] = [nn.Conv2d(6, rule[0], 3, padding=1)]
        blocks += [
            ResBlock(channels_at(i, *rule), channels_at(i + 1, *rule), resize="avgpool") for i in range(halvings)
        ]
        self.last_same = halvings + options.enh_num_blocks
        width = channels_at(halvings, *rule)
        blocks += [ResBlock(width, width) for _ in range(options.enh_num_blocks)]
        blocks += [
            ResBlock(channels_at(i, *rule), channels_at(i - 1, *rule), resize="nearest") for i in range(halvings, 0, -1)
        ]
        # The identity keeps the last convolution at its published position.
        blocks += [nn.Identity(), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(rule[0], 3, 3, padding=1)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, frames_per_person: int) -> Tensor:
        for index, block in enumerate(self.blocks):
            if isinstance(block, ResBlock):
                x, _ = block(x, frames_per_person=frames_per_person if index == self.last_same else 1)
            else:
                x = block(x)
        return x


class TextureEnhancer(nn.Module):
    """Updates a texture from how badly it reproduces the source images."""

    def __init__(self, options: NetworkOptions):
        super().__init__()
        self.depth = options.enh_unrolling_depth
        self.loss_type = options.enh_guiding_rgb_loss_type
        self.apply_masks = options.enh_apply_masks
        self.net = _Net(options)

    def forward(self, texture: Tensor, source: Frame, source_imgs: Tensor) -> Tensor:
        """Enhance.

        Args:
            texture: (B, 3, S, S).
            source: the inference generator's prediction for the source poses, B * N frames, person-major.
            source_imgs: (B * N, 3, S, S) in [-1, 1], unmasked.

        Returns:
            (B, 3, S, S), not bounded.
        """
        people = texture.shape[0]
        sources = source_imgs.shape[0] // people
        mask = source.segs.detach()
        lf, uvs = source.lf_rgbs.detach(), source.uvs.detach()
        goal = masked(source_imgs, mask) if self.apply_masks else source_imgs
        texture = texture.detach()
        for _ in range(self.depth):
            repeated = texture.repeat_interleave(sources, 0)
            with torch.enable_grad():
                leaf = repeated.detach().requires_grad_()
                guess = lf + sample(leaf, uvs)
                if self.apply_masks:
                    guess = masked(guess, mask)
                error = goal - guess
                energy = error.abs().sum() if self.loss_type == "l1" else 0.5 * error.square().sum()
                (gradient,) = torch.autograd.grad(energy, leaf)
            shown = convolution.laid_out(torch.cat((repeated, gradient), 1))
            texture = texture + torch.tanh(self.net(shown, sources))
        return texture


def compose_enhanced(target: Frame, texture: Tensor, apply_masks: bool) -> tuple[Tensor, Tensor]:
    """The target frame with another texture (N, 3, S, S) -> its pictures and their high-frequency layer."""
    hf = sample(texture, target.uvs)
    imgs = target.lf_rgbs + hf
    return (masked(imgs, target.segs) if apply_masks else imgs), hf
