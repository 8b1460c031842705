"""Pictures of the model: display curve, error map, wire frame, warp grid."""

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

GAINS = (1.4, 1.1, 1.6)
BLACK = 3.0


def display_curve(colour: Tensor) -> Tensor:
    """Raw camera colours (..., 3, H, W) in [0, 1] as a screen should show them, before clamping to [0, 1].

    White balance, black level and a square root; textures and photographs are nearly linear, and losses are computed
    before the curve.
    """
    gains = colour.new_tensor(GAINS)[:, None, None] / 1.1
    value = (colour * gains - BLACK / 255).clamp(0, 2)
    return ((0.95 * value / (1 - BLACK / 255)).sqrt() - 15 / 255).clamp(0, 2)


def error_map(predicted: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """(3, H, W) picture of |predicted - truth| (3, H, W), averaged over channels, 0 outside `mask` (1, H, W)."""
    error = ((predicted - truth).abs() * mask).mean(0)
    table = torch.from_numpy(matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3].astype(np.float32))
    scaled = error / error.max().clamp(min=1e-8)
    return table.to(error.device)[(scaled * 255).long()].permute(2, 0, 1)


def warped_lines(grid: Tensor, lines: int = 32) -> Tensor:
    """(3, S, S) picture of a sampling grid (S, S, 2): straight texture lines resampled by it."""
    size = grid.shape[0]
    coordinate = torch.arange(size, device=grid.device) % max(size // lines, 2) < max(size // 512, 1)
    pattern = 1 - (coordinate[:, None] | coordinate[None, :]).float()
    drawn = F.grid_sample(pattern[None, None], grid[None], align_corners=False)[0]
    return drawn.expand(3, -1, -1)


def edges(barycentric: Tensor, mask: Tensor, width: float = 0.06) -> Tensor:
    """(B, 1, H, W) bool: pixels near a triangle's edge, from weights (B, H, W, 3) and masks (B, 1, H, W)."""
    return (barycentric.amin(-1) < width).unsqueeze(1) & mask
