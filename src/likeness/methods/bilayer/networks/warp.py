"""UV fields: (N, S, S, 2) with u (x) first, in [-1, 1] from corner to corner, pixel centres at (2i + 1) / S - 1."""

import torch
from torch import Tensor
from torch.nn import functional as F


def identity_grid(size: int, device: torch.device | None = None) -> Tensor:
    """The UV field that leaves a picture as it is -> (1, S, S, 2)."""
    centres = (2 * torch.arange(size, dtype=torch.float32, device=device) + 1) / size - 1
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack((u, v), -1)[None]


def sample(picture: Tensor, uv: Tensor) -> Tensor:
    """Look a picture (N, C, S, S) up at a UV field (N, H, W, 2) -> (N, C, H, W); bilinear, zero outside."""
    return F.grid_sample(picture, uv, mode="bilinear", padding_mode="zeros", align_corners=False)


def masked(picture: Tensor, mask: Tensor) -> Tensor:
    """Put black (-1) where the mask is 0: `mask * picture - (1 - mask)`."""
    return mask * picture - (1 - mask)
