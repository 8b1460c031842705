"""The conditional variational autoencoder of Lombardi et al. 2018 (arXiv 1808.00362) and its four variants.

Modules are named as in the published weights, so a state dict is one without renaming. S is the side of the texture, z
the length of the latent code, V the number of vertices; textures and vertices are normalised.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.errors import UserError
from likeness.methods.multiface.convolutions import doubled_convolution
from likeness.methods.multiface.layers import (
    SLOPE,
    ConvTranspose2dWN,
    DownBlock,
    LinearWN,
    UpBlock,
    UpsampleConvWN,
    initialise_plain,
)

Architecture = Literal["base", "res", "warp", "non", "bilinear"]

BASE_SCALE = 256
"""Side of the texture over the side of the smallest feature map."""


@dataclass(frozen=True)
class Code:
    """What the encoder says of a frame: mean and log standard deviation (B, z) of its latent code, both scaled."""

    mean: Tensor
    logstd: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """z (B, z) = mean + exp(logstd) noise."""
        return self.mean + torch.exp(self.logstd) * noise


@dataclass(frozen=True)
class Decoded:
    """What the decoder makes of a code: normalised texture (B, 3, S, S) before colour correction, verts (B, V, 3).

    For `warp` also the texture before the warp and the sampling grid (B, S, S, 2).
    """

    texture: Tensor
    verts: Tensor
    unwarped: Tensor | None = None
    grid: Tensor | None = None


class TextureEncoder(nn.Module):
    """(B, 3, S, S) -> (B, 128 (S/256)^2), flattened channels first."""

    def __init__(self, residual: bool):
        super().__init__()
        channels = (3, 16, 32, 64, 128)
        self.downsample = nn.Sequential(*(DownBlock(a, b, residual) for a, b in itertools.pairwise(channels)))

    def forward(self, texture: Tensor) -> Tensor:
        return self.downsample(texture.contiguous(memory_format=torch.channels_last)).flatten(1)


class Encoder(nn.Module):
    """Mean texture and mesh of a frame to its latent code."""

    def __init__(self, tex_size: int, latent: int, vertices: int, residual: bool):
        super().__init__()
        self.texture_encoder = TextureEncoder(residual)
        self.texture_fc = LinearWN(128 * (tex_size // BASE_SCALE) ** 2, 256)
        self.mesh_fc = LinearWN(3 * vertices, 256)
        self.fc = LinearWN(512, 2 * latent, slope=1.0)

    def raw(self, average_texture: Tensor, verts: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (B, z) before they are scaled."""
        texture = F.leaky_relu_(self.texture_fc(self.texture_encoder(average_texture)), SLOPE)
        mesh = F.leaky_relu_(self.mesh_fc(verts.flatten(1)), SLOPE)
        mean, logstd = self.fc(torch.cat([texture, mesh], dim=1)).chunk(2, dim=1)
        return mean, logstd

    def forward(self, average_texture: Tensor, verts: Tensor) -> Code:
        mean, logstd = self.raw(average_texture, verts)
        return Code(0.1 * mean, 0.01 * logstd)


class TextureDecoder(nn.Module):
    """(B, z, S/256, S/256) -> (B, 3, S, S)."""

    def __init__(self, tex_size: int, latent: int, architecture: Architecture):
        super().__init__()
        channels = ((latent, latent, 64), (64, 64, 32), (32, 32, 16), (16, 16, 3))
        base = tex_size // BASE_SCALE
        self.upsample = nn.Sequential(
            *(
                UpBlock(
                    *layer,
                    base * 4**index,
                    residual=architecture == "res",
                    kind=UpsampleConvWN if architecture == "bilinear" else ConvTranspose2dWN,
                    texel_bias=architecture != "non",
                    last=index == 3,
                )
                for index, layer in enumerate(channels)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        # Channels last: the wide layers run up to twice as fast on a CPU.
        return self.upsample(features.contiguous(memory_format=torch.channels_last))


class Decoder(nn.Module):
    """Latent code and view direction to texture and mesh; the mesh does not depend on the view."""

    def __init__(self, tex_size: int, latent: int, vertices: int, architecture: Architecture):
        super().__init__()
        self.base = tex_size // BASE_SCALE
        self.view_fc = LinearWN(3, 8)
        self.z_fc = LinearWN(latent, 256)
        self.mesh_fc = LinearWN(256, 3 * vertices, slope=1.0)
        self.texture_fc = LinearWN(8 + 256, latent * self.base**2)
        self.texture_decoder = TextureDecoder(tex_size, latent, architecture)

    def forward(self, z: Tensor, view: Tensor) -> Decoded:
        code = F.leaky_relu_(self.z_fc(z), SLOPE)
        verts = self.mesh_fc(code).unflatten(1, (-1, 3))
        direction = F.leaky_relu_(self.view_fc(view), SLOPE)
        features = F.leaky_relu_(self.texture_fc(torch.cat([direction, code], dim=1)), SLOPE)
        return Decoded(self.texture_decoder(features.unflatten(1, (-1, self.base, self.base))), verts)


class WarpField(nn.Module):
    """Latent code to a sampling grid (B, S, S, 2) in [-1, 1], x first.

    A zero offset is not the identity: the grid's outermost samples lie half a texel outside the outermost texel
    centres. Published weights depend on it.
    """

    normal_grid: Tensor

    def __init__(self, tex_size: int, latent: int):
        super().__init__()
        self.tex_size = tex_size
        self.mlp = nn.Sequential(LinearWN(latent, 256), nn.LeakyReLU(SLOPE), LinearWN(256, 1024), nn.LeakyReLU(SLOPE))
        channels = ((256, 128, 128), (128, 128, 64), (64, 64, 32), (32, 32, 16))
        blocks = [UpBlock(*layer, 2 * 4**index) for index, layer in enumerate(channels)]
        scale = nn.Upsample((tex_size, tex_size), mode="bilinear", align_corners=False)
        self.upsample = nn.Sequential(*blocks, scale, initialise_plain(nn.Conv2d(16, 2, 3, padding=1)))
        line = torch.linspace(-1, 1, tex_size)
        grid = torch.stack([line.expand(tex_size, -1), line[:, None].expand(-1, tex_size)])
        self.register_buffer("normal_grid", grid[None].contiguous(memory_format=torch.channels_last))

    def forward(self, z: Tensor) -> Tensor:
        features = self.mlp(z).view(-1, 256, 2, 2)
        last = self.upsample[5]
        field = self.upsample[:4](features.contiguous(memory_format=torch.channels_last))
        if isinstance(last, nn.Conv2d) and last.bias is not None and self.tex_size == 2 * field.shape[-1]:
            offset = doubled_convolution(field, last.weight, last.bias)
        else:
            offset = self.upsample[4:](field)
        return torch.add(self.normal_grid, offset, alpha=1 / self.tex_size).permute(0, 2, 3, 1)


class Avatar(nn.Module):
    """Encoder, decoder and, for `warp`, the warp field: everything but the colour correction.

    Args:
        architecture: `base`; `res` adds residual convolutions; `warp` a warp of the texture; `non` has no bias of
            each texel; `bilinear` upsamples instead of transposed convolutions.
        tex_size: S, a multiple of 256 (512 and 1024 have published weights).
        latent: z.
        vertices: V.

    Raises:
        UserError: S is no multiple of 256.
    """

    def __init__(self, architecture: Architecture, tex_size: int, latent: int, vertices: int):
        super().__init__()
        if tex_size < BASE_SCALE or tex_size % BASE_SCALE:
            raise UserError(f"--tex-size {tex_size}: the networks need a multiple of {BASE_SCALE} (512, 1024, ...)")
        self.latent = latent
        self.enc = Encoder(tex_size, latent, vertices, residual=architecture == "res")
        self.dec = Decoder(tex_size, latent, vertices, architecture)
        self.warp = WarpField(tex_size, latent) if architecture == "warp" else None

    def encode(self, average_texture: Tensor, verts: Tensor) -> Code:
        """Code of frames: average textures (B, 3, S, S) and verts (B, V, 3), both normalised."""
        return self.enc(average_texture, verts)

    def decode(self, z: Tensor, view: Tensor) -> Decoded:
        """Texture and mesh of codes z (B, z) seen from unit directions `view` (B, 3) in the head's frame."""
        plain = self.dec(z, view)
        if self.warp is None:
            return plain
        grid = self.warp(z)
        texture = F.grid_sample(plain.texture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return Decoded(texture, plain.verts, plain.texture, grid)
