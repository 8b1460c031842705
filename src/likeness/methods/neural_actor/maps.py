"""Maps over the body's texture space: normals of the posed body, and textures unwrapped from several cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.formats.actor import ActorCamera
from likeness.geometry.mesh import vertex_normals
from likeness.render.rasterise import rasterise

KEPT_VIEWS = 3
"""Views whose median colours a texel."""
LEAST_COSINE = 0.2
"""Views flatter than this are not used."""
DILATION = 0.1
"""Width, as a share of the map's side, of the kernel by which the body's islands grow before holes are filled."""
INPAINT_RADIUS = 3
DEPTH_SLACK = 0.005
"""Metres by which a texel may lie behind what the camera sees there."""


@dataclass(frozen=True)
class Layout:
    """Which point of the surface each texel of a square map shows."""

    covered: Tensor
    """(S, S) bool; row 0 lies at v = 1."""
    faces: Tensor
    """(K,) face of each covered texel."""
    barycentrics: Tensor
    """(K, 3)."""


@dataclass(frozen=True)
class Texture:
    """A texture unwrapped from pictures."""

    image: np.ndarray
    """(S, S, 3) uint8, white where there is no body."""
    known: np.ndarray
    """(S, S) bool: texels that a camera saw; the body's others are filled from their surroundings."""


def layout(face_uv: Tensor, size: int) -> Layout:
    """Draw the faces (F, 3, 2), v pointing up, into a map of `size`."""
    corners = face_uv.reshape(-1, 2)
    places = torch.stack([corners[:, 0] * size, (1 - corners[:, 1]) * size, torch.ones(len(corners))], dim=-1)
    order = torch.arange(len(corners)).view(-1, 3)
    raster = rasterise(places[None], order, (size, size), perspective=False)
    covered = raster.triangle[0] >= 0
    return Layout(covered, raster.triangle[0][covered].long(), raster.barycentric[0][covered])


def over_surface(values: Tensor, faces: Tensor, where: Layout) -> Tensor:
    """Per-vertex values (V, C) at each covered texel: (K, C)."""
    return torch.einsum("kc,kcd->kd", where.barycentrics, values[faces[where.faces]])


def normal_map(vertices: Tensor, faces: Tensor, where: Layout) -> np.ndarray:
    """(S, S, 3) uint8 of n/2 + 0.5 with n the posed body's normals in the world; white where there is no body.

    Channels are z, y, x, as published (the original wrote through a BGR writer, and its texture predictor expects it).
    """
    normals = over_surface(vertex_normals(vertices, faces), faces, where)
    encoded = torch.ones(*where.covered.shape, 3)
    encoded[where.covered] = normals.flip(-1) / 2 + 0.5
    return _bytes(encoded)


def texture_map(
    vertices: Tensor, faces: Tensor, where: Layout, views: Sequence[tuple[np.ndarray, ActorCamera]]
) -> Texture:
    """Unwrap pictures into a texture.

    Each texel takes the per-channel median of the three views that see it most frontally (cosine above 0.2); holes
    within the grown islands are filled by Telea's method. Visibility is decided texel by texel against the depth that
    a camera sees, where the original decides face by face: the same for large pictures, and no holes in small ones.

    Args:
        vertices: (V, 3) posed, in the world.
        faces: (F, 3).
        where: of `layout`.
        views: RGBA pictures (H, W, 4) float in [0, 1] and their cameras; pure white counts as background.
    """
    points = over_surface(vertices, faces, where)
    normals = F.normalize(over_surface(vertex_normals(vertices, faces), faces, where), dim=-1)
    seen = [_view(points, normals, vertices, faces, picture, camera) for picture, camera in views]
    weights = torch.stack([weight for weight, _ in seen])  # (C, K)
    colors = torch.stack([color for _, color in seen])  # (C, K, 3)
    count = min(KEPT_VIEWS, len(views))
    best, index = weights.topk(count, dim=0)
    used = best > LEAST_COSINE
    values = colors.gather(0, index.unsqueeze(-1).expand(-1, -1, 3))
    color = _median(values, used)
    known = used.any(0)
    image = np.full((*where.covered.shape, 3), 255, np.uint8)
    covered = where.covered.numpy()
    image[covered] = _bytes(color)
    seen_at = covered.copy()
    seen_at[covered] = known.numpy()
    return Texture(_filled(image, covered, covered & ~seen_at), seen_at)


def _view(
    points: Tensor, normals: Tensor, vertices: Tensor, faces: Tensor, picture: np.ndarray, camera: ActorCamera
) -> tuple[Tensor, Tensor]:
    """Of each point (K, 3): the cosine of the view on it, 0 where it is hidden, and its colour (K, 3)."""
    height, width = picture.shape[:2]
    places = project(vertices, camera)
    depth = rasterise(places[None], faces, (height, width)).depth
    # The nearest depth around a pixel: beside an occluder's edge its colour is mixed in.
    depth = -F.max_pool2d(-depth.masked_fill(depth == 0, torch.inf), 3, 1, 1)[0]
    spots = project(points, camera)
    toward = F.normalize(camera.camera_to_world[:3, 3] - points, dim=-1)
    cosine = (toward * normals).sum(-1).clamp(0, 1)
    inside = (spots[:, 2] > 0) & (spots[:, :2] >= 0).all(-1) & (spots[:, 0] < width) & (spots[:, 1] < height)
    column = spots[:, 0].nan_to_num(0).clamp(0, width - 1).long()
    row = spots[:, 1].nan_to_num(0).clamp(0, height - 1).long()
    # Over two pixels a slanted surface spans more depth than a frontal one.
    slope = (1 - cosine.square()).clamp_min(0).sqrt() / cosine.clamp_min(LEAST_COSINE)
    slack = DEPTH_SLACK + 2 * spots[:, 2] / camera.intrinsics[0, 0] * slope
    front = depth[row, column]
    visible = inside & (spots[:, 2] <= front + slack)
    rgba = torch.from_numpy(picture).permute(2, 0, 1)
    background = ((rgba[3] <= 0.5) | (rgba[:3] >= 1).all(0)).float()
    # A pixel beside the background shows some of it.
    mask = 1 - F.max_pool2d(background[None], 3, 1, 1)[0]
    grid = (spots[:, :2] / torch.tensor([width, height]) * 2 - 1).nan_to_num(2).clamp(-2, 2)
    sampled = F.grid_sample(torch.cat([rgba[:3], mask[None]])[None], grid[None, None], align_corners=False)[0, :, 0].T
    visible = visible & (sampled[:, 3] > 0.999)
    return torch.where(visible, cosine, 0.0), sampled[:, :3]


def project(points: Tensor, camera: ActorCamera) -> Tensor:
    """(N, 3) pixel x, pixel y (pixel centres at +0.5) and depth of world points (N, 3)."""
    world_to_camera = torch.linalg.inv(camera.camera_to_world)
    local = points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    pixels = local @ camera.intrinsics[:3, :3].T
    # The format counts pixels from their centres, the rasteriser from the picture's corner.
    return torch.cat([pixels[:, :2] / pixels[:, 2:] + 0.5, local[:, 2:]], dim=-1)


def _median(values: Tensor, used: Tensor) -> Tensor:
    """Per-channel median (K, 3) over the used ones of up to three values (C, K, 3); 1 where none is used."""
    ordered = values.masked_fill(~used.unsqueeze(-1), torch.inf).sort(0).values
    count = used.sum(0)
    upper = ordered.gather(0, (count // 2).clamp_max(len(values) - 1).view(1, -1, 1).expand(1, -1, 3))[0]
    lower = ordered.gather(0, ((count - 1) // 2).clamp_min(0).view(1, -1, 1).expand(1, -1, 3))[0]
    return torch.where((count > 0).unsqueeze(-1), (lower + upper) / 2, 1.0)


def _filled(image: np.ndarray, covered: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill `missing` texels and a margin around the islands from their surroundings."""
    side = max(3, round(DILATION * len(image)) // 2 * 2 + 1)
    grown = cv2.dilate(covered.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    holes = (grown & (missing | ~covered)).astype(np.uint8)
    if not (covered & ~missing).any():
        return image
    return cv2.inpaint(image, holes, INPAINT_RADIUS, cv2.INPAINT_TELEA)


def _bytes(values: Tensor) -> np.ndarray:
    return values.clamp(0, 1).mul(255).add(0.5).floor().to(torch.uint8).numpy()
