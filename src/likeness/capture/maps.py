"""What the body's texture is painted by: where each texel lies on the unmorphed body, and how open to the sky it is."""

import functools

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from likeness.capture.assets import BAKE_VERSION, load_assets
from likeness.capture.body import surface, vertex_normals
from likeness.capture.cache import cached
from likeness.render.rasterise import rasterise

TEXTURE_SIZE = 1024
AMBIENT_VIEWS, AMBIENT_SIZE = 48, 512


@functools.cache
def rest_positions() -> tuple[np.ndarray, np.ndarray]:
    """Rest position (1024, 1024, 3) float32 decimetres of every texel, and whether the body covers it (1024, 1024).

    Row 0 lies at v = 1. Texels between the islands take the position of the nearest covered one, so that bilinear
    look-ups never meet a seam.
    """
    arrays = cached(f"rest-positions-{BAKE_VERSION}-{TEXTURE_SIZE}", _bake_positions)
    return arrays["positions"], arrays["covered"]


@functools.cache
def openness() -> np.ndarray:
    """(19158,) float32 share of the sky that the rest body leaves free at each vertex: ambient occlusion."""
    return cached(f"openness-{BAKE_VERSION}", _bake_openness)["open"]


def unwrap(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw per-vertex values (19158, C) into the body's texture: (size, size, C) float32 and coverage (size, size)."""
    body = surface("body")
    corners = body.corners_uv.reshape(-1, 2)
    places = np.column_stack([corners[:, 0] * size, (1 - corners[:, 1]) * size, np.ones(len(corners))])
    order = torch.arange(len(corners)).reshape(-1, 3)
    raster = rasterise(torch.tensor(places, dtype=torch.float32)[None], order, (size, size), perspective=False)
    index, weights = raster.triangle[0].numpy(), raster.barycentric[0].numpy()
    covered = index >= 0
    out = np.zeros((size, size, values.shape[1]), np.float32)
    out[covered] = np.einsum("nk,nkc->nc", weights[covered], values[body.triangles[index[covered]]])
    return out, covered


def _bake_positions() -> dict[str, np.ndarray]:
    positions, covered = unwrap(load_assets().vertices, TEXTURE_SIZE)
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return {"positions": positions[tuple(nearest)], "covered": covered}


def _bake_openness() -> dict[str, np.ndarray]:
    vertices = load_assets().vertices
    normals = vertex_normals(vertices)
    parts = [surface(part).triangles for part in ("body", "teeth")]
    triangles = torch.from_numpy(np.concatenate(parts))
    count = np.arange(AMBIENT_VIEWS) + 0.5
    height, turn = 1 - 2 * count / AMBIENT_VIEWS, np.pi * (1 + 5**0.5) * count
    ring = np.sqrt(1 - height**2)
    free, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    for direction in np.column_stack([ring * np.cos(turn), height, ring * np.sin(turn)]):
        lit = shadow_test(vertices + 0.03 * normals, vertices, triangles, direction, AMBIENT_SIZE)
        facing = np.maximum(normals @ direction, 0)
        free += facing * lit
        total += facing
    return {"open": (free / total).astype(np.float32)}


def shadow_test(
    points: np.ndarray, vertices: np.ndarray, triangles: torch.Tensor, direction: np.ndarray, size: int
) -> np.ndarray:
    """Which points (N, 3) see a light in `direction` (unit, towards the light) past a mesh: (N,) float32, 0 or 1."""
    side = np.cross(direction, [0.13, 0.7, 0.7])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(direction, side), -direction])
    local = vertices @ axes.T
    low, high = local[:, :2].min(0), local[:, :2].max(0)
    scale = (size - 4) / (high - low).max()
    nearest = local[:, 2].min() - 1

    def place(values: np.ndarray) -> np.ndarray:
        return np.column_stack([(values[:, :2] - low) * scale + 2, values[:, 2] - nearest])

    raster = rasterise(
        torch.tensor(place(local), dtype=torch.float32)[None], triangles, (size, size), perspective=False
    )
    depth = raster.depth[0].numpy()
    spots = place(points @ axes.T)
    columns, rows = (np.clip(spots[:, k].astype(int), 0, size - 1) for k in (0, 1))
    seen = depth[rows, columns]
    return ((seen == 0) | (spots[:, 2] < seen + 0.01)).astype(np.float32)
