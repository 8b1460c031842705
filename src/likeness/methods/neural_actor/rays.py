"""Camera rays, their bounds around the body, and which of them a training step renders."""

import torch
from torch import Tensor


def pixel_grid(height: int, width: int, original: tuple[int, int]) -> Tensor:
    """(H W, 2) pixel coordinates of a picture loaded at height x width, in pixels of its `original` (H, W).

    Column i, row j lies at (i W/w, j H/h): this data set has no half-pixel offset.
    """
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = columns.flatten() * (original[1] / width)
    y = rows.flatten() * (original[0] / height)
    return torch.stack([x, y], dim=-1)


def camera_rays(intrinsics: Tensor, camera_to_world: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Origin (3,) and unit directions (N, 3) in the world of pixels (N, 2).

    Args:
        intrinsics: (3, 3) or larger, pixels.
        camera_to_world: (4, 4).
    """
    x = (pixels[:, 0] - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (pixels[:, 1] - intrinsics[1, 2]) / intrinsics[1, 1]
    local = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = local @ camera_to_world[:3, :3].T
    return camera_to_world[:3, 3], directions / (directions.norm(dim=-1, keepdim=True) + 1e-8)


def sphere_candidates(origin: Tensor, directions: Tensor, joints: Tensor) -> Tensor:
    """(N,) whether a ray's line meets the sphere of 1.88 times the joints' extent around their mean."""
    centre = joints.mean(0)
    radius = 1.88 * (joints - centre).norm(dim=-1).max()
    offset = centre - origin
    along = directions @ offset
    return (offset - along.unsqueeze(-1) * directions).square().sum(-1) < radius**2


def ball_bounds(
    origin: Tensor, directions: Tensor, centres: Tensor, radius: float, chunk: int = 2048
) -> tuple[Tensor, Tensor, Tensor]:
    """Union of the intervals in which rays pass through balls around `centres` (V, 3).

    The squared distance is |p - (p.d) d|^2, which does not cancel as |p|^2 - (p.d)^2 does. Balls behind the camera
    count as in front, as published.

    Returns:
        near (N,), far (N,), hit (N,); near and far are 0 where nothing is hit.
    """
    offsets = centres - origin  # (V, 3)
    nears, fars = [], []
    for part in directions.split(chunk):
        along = part @ offsets.T  # (n, V)
        squared = (offsets.square().sum(-1) - along.square()).clamp_min(0)
        close = squared < (radius * 1.1) ** 2
        rays, balls = close.nonzero(as_tuple=True)
        reach = along[rays, balls]
        exact = (offsets[balls] - reach.unsqueeze(-1) * part[rays]).square().sum(-1)
        inside = exact < radius**2
        rays, reach, half = rays[inside], reach[inside].abs(), (radius**2 - exact[inside]).sqrt()
        near = reach.new_full((len(part),), torch.inf).scatter_reduce(0, rays, reach - half, "amin")
        far = reach.new_full((len(part),), -torch.inf).scatter_reduce(0, rays, reach + half, "amax")
        nears.append(near)
        fars.append(far)
    near, far = torch.cat(nears), torch.cat(fars)
    hit = near.isfinite()
    return torch.where(hit, near, 0), torch.where(hit, far, 0), hit


def choose_pixels(hit: Tensor, count: int, uniform: Tensor, on_mask: float = 1.0) -> Tensor:
    """Indices of `count` pixels drawn without replacement, in raster order: Gumbel top-k.

    Args:
        hit: (P,) pixels whose rays meet the body.
        uniform: (P,) noise in [0, 1).
        on_mask: share of the probability that lies on hit pixels; the rest is uniform over all.
    """
    probability = hit.float() / hit.sum().clamp_min(1)
    if on_mask < 1:
        probability = on_mask * probability + (1 - on_mask) / len(hit)
    gumbel = -torch.log(-torch.log(uniform + 1e-9) + 1e-9)
    score = torch.log(probability + 1e-9) + gumbel
    return score.topk(min(count, len(hit))).indices.sort().values
