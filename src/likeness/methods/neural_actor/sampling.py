"""Depth samples along rays: intervals that tile [near, far], stratified or by importance."""

import torch
from torch import Tensor


def interval_samples(near: Tensor, far: Tensor, count: int, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Midpoints and lengths of the `count` + 1 intervals that stratified depths cut [near, far] into.

    Args:
        near, far: (N,).
        noise: (N, count) in [0, 1), clamped to [0.001, 0.999]; None puts each depth in the middle of its stratum.

    Returns:
        depths (N, count + 1), lengths (N, count + 1); the lengths sum to far - near.
    """
    share = torch.full((len(near), count), 0.5, device=near.device) if noise is None else noise.clamp(0.001, 0.999)
    strata = (torch.arange(count, device=near.device) + share) / count
    cuts = near.unsqueeze(-1) + strata * (far - near).unsqueeze(-1)
    edges = torch.cat([near.unsqueeze(-1), cuts, far.unsqueeze(-1)], dim=-1)
    return (edges[:, 1:] + edges[:, :-1]) / 2, edges.diff(dim=-1)
