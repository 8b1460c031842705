"""A plain float64 rasteriser to hold the kernels against, and meshes to draw."""

import numpy as np
import pytest
import torch


def reference_raster(vertices, triangles, size, *, perspective=True, near=1e-3):
    """Ids (H, W), weights (H, W, 3), depth (H, W), in float64, and where the answer is clear of rounding, (H, W) bool.

    vertices (V, 3) pixel x, pixel y, depth; triangles (T, 3). Solves for each triangle the homogeneous system
    V^T c = pixel, so that the weights are c / sum(c) and the depth 1 / sum(c): another route than the kernels'.
    """
    height, width = size
    y, x = np.mgrid[0:height, 0:width] + 0.5
    pixels = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    ids, depth = np.full(height * width, -1), np.full(height * width, np.inf)
    weights, safe = np.zeros((height * width, 3)), np.ones(height * width, bool)
    for index, corners in enumerate(np.asarray(triangles)):
        p = np.asarray(vertices, np.float64)[corners]
        if not np.isfinite(p).all() or (p[:, 2].max() < near) or (not perspective and p[:, 2].min() < near):
            continue
        flat = np.concatenate([p[:, :2], np.ones((3, 1))], axis=1)
        matrix = (flat * p[:, 2:] if perspective else flat).T
        area = np.linalg.det(flat)
        if area == 0 or (p[:, 2] == 0).any():
            continue
        c = np.linalg.solve(matrix, pixels)
        total = c.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            b = c / total
            z = 1 / total if perspective else b.T @ p[:, 2]
        inside = (c >= 0).all(0) & (total > 0) & (z >= near)
        # Distance of the pixel's centre from each edge's line, in pixels.
        lengths = np.linalg.norm(flat[[1, 2, 0], :2] - flat[[2, 0, 1], :2], axis=1)
        e = c * p[:, 2:] * area if perspective else c * area
        safe &= ~((np.abs(e) < 2e-3 * np.maximum(lengths, 1)[:, None]).any(0))
        safe &= ~(np.abs(z - near) < 1e-5 * near)
        safe &= ~(inside & (np.abs(z - depth) < 1e-5 * z))
        closer = inside & (z < depth)
        ids[closer], depth[closer], weights[closer] = index, z[closer], b.T[closer]
    depth[ids < 0] = 0
    return (
        ids.reshape(height, width),
        weights.reshape(height, width, 3),
        depth.reshape(height, width),
        safe.reshape(height, width),
    )


def sphere(rings=12, segments=16):
    """A closed unit sphere: vertices (V, 3) float32, triangles (T, 3), corners counter-clockwise from outside."""
    theta = torch.linspace(0, torch.pi, rings + 1)[1:-1]
    phi = torch.arange(segments) * (2 * torch.pi / segments)
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    body = torch.stack([t.sin() * p.cos(), t.sin() * p.sin(), t.cos()], dim=-1).reshape(-1, 3)
    vertices = torch.cat([body, torch.tensor([[0.0, 0, 1], [0, 0, -1]])])
    index = torch.arange(len(body)).view(rings - 1, segments)
    a, b = index[:-1], index[1:]
    c, d = b.roll(-1, 1), a.roll(-1, 1)
    top, bottom = len(body), len(body) + 1
    first, last = index[0], index[-1]
    triangles = torch.cat(
        [
            torch.stack([a, b, c], -1).reshape(-1, 3),
            torch.stack([a, c, d], -1).reshape(-1, 3),
            torch.stack([torch.full_like(first, top), first, first.roll(-1)], -1),
            torch.stack([torch.full_like(last, bottom), last.roll(-1), last], -1),
        ]
    )
    return vertices, triangles


@pytest.fixture(scope="session")
def plain_raster():
    return reference_raster


@pytest.fixture(scope="session")
def ball():
    return sphere
