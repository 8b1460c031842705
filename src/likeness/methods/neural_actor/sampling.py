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
    strata = _strata(len(near), count, noise, near.device)
    cuts = near.unsqueeze(-1) + strata * (far - near).unsqueeze(-1)
    return _intervals(torch.cat([near.unsqueeze(-1), cuts, far.unsqueeze(-1)], dim=-1))


def importance_samples(
    edges: Tensor, probabilities: Tensor, count: int, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Midpoints and lengths of the intervals that bins' ends and `count` depths, drawn by importance, cut together.

    Depth k lies where the bins' cumulative probability reaches (k + noise) / count (NeRF, section 5.2); every bin's end
    stays an end of an interval, so that the output tiles the bins.

    Args:
        edges: (N, B + 1) ends of contiguous bins, rising.
        probabilities: (N, B), rows summing to 1.
        noise: as in `interval_samples`.

    Returns:
        depths (N, B + count), lengths (N, B + count).
    """
    reach = probabilities.cumsum(-1)
    reach = reach / reach[:, -1:]
    strata = _strata(len(edges), count, noise, edges.device).contiguous()
    bins = torch.searchsorted(reach[:, :-1].contiguous(), strata, right=False)  # (N, count)
    before = torch.cat([torch.zeros_like(reach[:, :1]), reach[:, :-1]], dim=-1)
    low, high = edges.gather(1, bins), edges.gather(1, bins + 1)
    share = (strata - before.gather(1, bins)) / (reach - before).gather(1, bins).clamp_min(1e-12)
    cuts = low + share.clamp(0, 1) * (high - low)
    return _intervals(torch.cat([edges, cuts], dim=-1).sort(dim=-1).values)


def _strata(rays: int, count: int, noise: Tensor | None, device: torch.device) -> Tensor:
    share = torch.full((rays, count), 0.5, device=device) if noise is None else noise.clamp(0.001, 0.999)
    return (torch.arange(count, device=device) + share) / count


def _intervals(edges: Tensor) -> tuple[Tensor, Tensor]:
    return (edges[:, 1:] + edges[:, :-1]) / 2, edges.diff(dim=-1)
