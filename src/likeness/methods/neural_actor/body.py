"""Samples near the posed body: their place on its surface, and their way back to the canonical pose."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SurfacePoint:
    """Where samples lie with respect to the posed mesh."""

    faces: Tensor
    """(N,) nearest face."""
    barycentrics: Tensor
    """(N, 3) of its nearest point."""
    distance: Tensor
    """(N,) metres, positive on the side of the face's normal."""


def surface_point(points: Tensor, corners: Tensor, faces: Tensor) -> SurfacePoint:
    """The nearest point on given faces.

    The plane's projection counts where its barycentrics lie in [0, 1]; else the nearest of the edges 01, 02, 12, the
    first of equals.

    Args:
        points: (N, 3).
        corners: (N, 3, 3) corners of each point's face.
        faces: (N,) the faces' indices, handed through.
    """
    a, b, c = corners.unbind(1)
    ab, ac, ap = b - a, c - a, points - a
    normal = torch.linalg.cross(ab, ac)
    squared_area = normal.square().sum(-1)
    # The published kernel divides dot products by the largest one and adds 1e-8: published weights expect that bias.
    largest = torch.stack([(ab * ab).sum(-1), (ab * ac).sum(-1).abs(), (ac * ac).sum(-1)]).amax(0)
    denominator = (squared_area + 1e-8 * largest).clamp_min(1e-30)
    # Areas from cross products: products of dot products would cancel in float32.
    v = (torch.linalg.cross(ap, ac) * normal).sum(-1) / denominator
    w = (torch.linalg.cross(ab, ap) * normal).sum(-1) / denominator
    inside_weights = torch.stack([1 - v - w, v, w], dim=-1)  # (N, 3)
    inside = (squared_area > 1e-16) & (inside_weights >= 0).all(-1)
    best_weights, best = torch.zeros_like(inside_weights), torch.full_like(v, torch.inf)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        start, edge = corners[:, first], corners[:, second] - corners[:, first]
        share = (((points - start) * edge).sum(-1) / (edge * edge).sum(-1).clamp_min(1e-30)).clamp(0, 1)
        squared = (points - start - share.unsqueeze(-1) * edge).square().sum(-1)
        weights = torch.zeros_like(inside_weights)
        weights[:, first], weights[:, second] = 1 - share, share
        closer = squared < best
        best = torch.where(closer, squared, best)
        best_weights = torch.where(closer.unsqueeze(-1), weights, best_weights)
    barycentrics = torch.where(inside.unsqueeze(-1), inside_weights, best_weights)
    offset = points - torch.einsum("nk,nkc->nc", barycentrics, corners)
    outward = torch.linalg.cross(b - a, c - b)
    side = torch.sign((offset * outward).sum(-1))
    return SurfacePoint(faces, barycentrics, side * offset.norm(dim=-1))


def interpolate_corners(values: Tensor, point: SurfacePoint) -> Tensor:
    """Values (F, 3, ...) of face corners at surface points: (N, ...)."""
    return torch.einsum("nk,nk...->n...", point.barycentrics, values[point.faces])


def to_canonical(points: Tensor, posed: Tensor, canonical: Tensor) -> Tensor:
    """A'_w A_w^-1 x of normalised points (N, 3), with blended transforms `posed` and `canonical` (N, 3, 4)."""
    rest = torch.linalg.solve(posed[..., :3], (points - posed[..., 3]).unsqueeze(-1))
    return (canonical[..., :3] @ rest).squeeze(-1) + canonical[..., 3]
