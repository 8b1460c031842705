"""Texture look-up with gradients to the texture and to the place of the look-up."""

import torch
import torch.nn.functional as F
import warp as wp
from torch import Tensor

from likeness.kernels import as_array, lanes, launch
from likeness.render import shade_kernels


def sample_texture(
    texture: Tensor, uv: Tensor, mask: Tensor | None = None, *, wrap: bool = True, mipmap: bool = False
) -> Tensor:
    """Bilinear texture look-up.

    Texel (row r, column c) has its centre at u = (c + 0.5) / w, v = (r + 0.5) / h: v grows with the row. (Where v = 0
    is a picture's bottom, flip the picture first.)

    Args:
        texture: (1 or B, C, h, w).
        uv: (B, 2, H, W) u and v, 1 for the whole texture.
        mask: (B, 1, H, W) bool: where to look up; the rest is 0. `Raster.mask` makes this cheaper and keeps the
            background from colouring the texture's corner. Default: everywhere.
        wrap: repeat the texture outside [0, 1]; else its border goes on.
        mipmap: blend the two halvings of the texture (trilinear; h and w must be powers of two times a common
            remainder to be halved further) whose texels are nearest in size to a pixel. The choice has no gradient.

    Returns:
        (B, C, H, W) float32, channels last in memory.

    Raises:
        ValueError: shapes do not fit.
    """
    batch = uv.shape[0]
    if uv.ndim != 4 or uv.shape[1] != 2 or texture.ndim != 4 or texture.shape[0] not in (1, batch):
        raise ValueError(
            f"texture has shape {tuple(texture.shape)} and uv {tuple(uv.shape)}, expected (1 or B, C, h, w) and "
            f"(B, 2, H, W)"
        )
    if mask is None:
        mask = torch.ones_like(uv[:, :1], dtype=torch.bool)
    if mask.shape != (batch, 1, *uv.shape[2:]) or mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype} of shape {tuple(mask.shape)}, expected bool (B, 1, H, W) of uv's size")
    if not mipmap:
        return _sample(texture, uv, mask, wrap)
    levels = _halvings(texture)
    level = texture_level(uv, mask, (texture.shape[2], texture.shape[3])).clamp(0, len(levels) - 1)  # (B, 1, H, W)
    out = torch.zeros((), device=uv.device)
    for index, halved in enumerate(levels):
        share = (1 - (level - index).abs()).clamp(min=0)
        out = out + share * _sample(halved, uv, mask & (share > 0), wrap)
    return out


def texture_level(uv: Tensor, mask: Tensor, size: tuple[int, int]) -> Tensor:
    """How often a texture of `size` (h, w) must be halved for a texel to be as large as a pixel: (B, 1, H, W).

    log2 of the longer of the two steps, in texels, that a look-up makes from pixel to pixel along a row and a column;
    the shorter of the steps to both sides counts, since the other may lead over a seam or into the background.
    """
    scale = uv.new_tensor([size[1], size[0]]).view(1, 2, 1, 1)
    texels = uv.detach() * scale
    lengths = []
    for axis in (2, 3):
        step = texels.diff(dim=axis).norm(dim=1, keepdim=True)
        count = mask.shape[axis]
        both = mask.narrow(axis, 1, count - 1) & mask.narrow(axis, 0, count - 1)
        step = step.masked_fill(~both, torch.inf)
        edge = torch.full_like(mask.narrow(axis, 0, 1), torch.inf, dtype=step.dtype)
        shorter = torch.minimum(torch.cat([edge, step], axis), torch.cat([step, edge], axis))
        lengths.append(shorter.masked_fill(shorter.isinf(), 0))
    return torch.maximum(*lengths).clamp(min=1e-8).log2()


def _halvings(texture: Tensor) -> list[Tensor]:
    levels = [texture]
    while levels[-1].shape[2] % 2 == 0 and levels[-1].shape[3] % 2 == 0:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _sample(texture: Tensor, uv: Tensor, mask: Tensor, wrap: bool) -> Tensor:
    out = _Sample.apply(texture.float(), uv.float().movedim(1, -1), mask.squeeze(1), wrap)
    return out.movedim(-1, 1)


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, texture, uv, mask, wrap):
        # Textures are read as they lie: a copy would take a third of the look-up's time.
        uv, mask = uv.contiguous(), mask.contiguous()
        batch, height, width = mask.shape
        out = texture.new_empty((batch, height, width, texture.shape[1]))
        columns = lanes(width, uv.device)
        launch(
            shade_kernels.sample_texture,
            (batch, height, columns),
            [
                as_array(texture, wp.float32),
                as_array(uv, wp.vec2),
                as_array(mask, wp.bool),
                wrap,
                columns,
                as_array(out, wp.float32),
            ],
            uv.device,
        )
        ctx.save_for_backward(texture, uv, mask)
        ctx.wrap = wrap
        return out

    @staticmethod
    def backward(ctx, grad_out):
        texture, uv, mask = ctx.saved_tensors
        batch, height, width = mask.shape
        wanted = ctx.needs_input_grad[0]
        grad_texture = torch.zeros_like(texture) if wanted else texture
        grad_uv = torch.empty_like(uv)
        columns = lanes(width, uv.device)
        launch(
            shade_kernels.sample_texture_backward,
            (batch, height, columns),
            [
                as_array(texture, wp.float32),
                as_array(uv, wp.vec2),
                as_array(mask, wp.bool),
                ctx.wrap,
                columns,
                as_array(grad_out.contiguous(), wp.float32),
                wanted,
                as_array(grad_texture, wp.float32),
                as_array(grad_uv, wp.vec2),
            ],
            uv.device,
        )
        return grad_texture if wanted else None, grad_uv, None, None
