"""Camera rays, their bounds around the body, and which of them a training step renders."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class PixelSampling:
    """Which pixels of a view a training step may draw."""

    on_mask: float = 1.0
    """Share of the probability that lies on pixels near the body; the rest is uniform."""
    at_center: float = 1.0
    """Only the central part of the picture, this share of its height and width."""
    on_bbox: bool = False
    """The whole box around the pixels near the body instead of these alone."""
    patch_size: int = 1
    """Draw square patches of so many pixels a side."""
    skipping_size: int = 1
    """Pixels from one of a patch to its next."""


def choose_pixels(
    hit: Tensor, count: int, uniform: Tensor, size: tuple[int, int], sampling: PixelSampling | None = None
) -> Tensor:
    """Indices of `count` pixels (less what does not fill a patch) drawn without replacement: Gumbel top-k.

    Single pixels come in raster order; patches in raster order of their first pixels, each row by row, and may overlap.

    Args:
        hit: (H W,) pixels whose rays meet the body.
        uniform: (H W,) noise in [0, 1).
        size: (H, W).
    """
    sampling = sampling or PixelSampling()
    wanted = hit.view(size)
    if sampling.on_bbox and hit.any():
        rows, columns = wanted.any(1).nonzero()[:, 0], wanted.any(0).nonzero()[:, 0]
        wanted = torch.zeros_like(wanted)
        wanted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    allowed = torch.ones_like(wanted)
    if sampling.at_center < 1:
        allowed = torch.zeros_like(wanted)
        top, left = (round(side * (1 - sampling.at_center) / 2) for side in size)
        allowed[top : size[0] - top, left : size[1] - left] = True
    # A patch is drawn by its first pixel and must lie within the picture.
    reach = (sampling.patch_size - 1) * sampling.skipping_size
    if reach:
        allowed[size[0] - reach :] = False
        allowed[:, size[1] - reach :] = False
        middle = reach // 2
        wanted = torch.roll(wanted, (-middle, -middle), (0, 1))
    wanted = (wanted & allowed).flatten()
    free = allowed.flatten()
    probability = wanted.float() / wanted.sum().clamp_min(1)
    if sampling.on_mask < 1:
        probability = sampling.on_mask * probability + (1 - sampling.on_mask) * free.float() / free.sum().clamp_min(1)
    gumbel = -torch.log(-torch.log(uniform + 1e-9) + 1e-9)
    score = torch.where(free, torch.log(probability + 1e-9) + gumbel, -torch.inf)
    patches = min(max(1, count // sampling.patch_size**2), int(free.sum()))
    first = score.topk(patches).indices.sort().values
    if not reach:
        return first
    steps = torch.arange(sampling.patch_size, device=hit.device) * sampling.skipping_size
    return (first[:, None, None] + steps[:, None] * size[1] + steps).flatten()
