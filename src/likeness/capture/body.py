"""The body's surface and skeleton: triangles by part, morphing, posing by linear blend skinning, normals."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from likeness.capture.assets import BODY, LASHES, LOWER_TEETH, TONGUE, UPPER_TEETH, load_assets

METRES = 0.1
"""Metres in one decimetre, the unit of the assets."""


@dataclass(frozen=True)
class Surface:
    """Triangles of one part of the base mesh."""

    triangles: np.ndarray
    """(T, 3) int32 into the base mesh's vertices."""
    corners_uv: np.ndarray
    """(T, 3, 2) float32, v up."""
    uv_indices: np.ndarray
    """(T, 3) int32 into the base mesh's texture coordinates."""


@functools.cache
def surface(part: str) -> Surface:
    """Triangles of `body`, `tongue`, `teeth` or `lashes`."""
    ranges = {"body": [BODY], "tongue": [TONGUE], "teeth": [LOWER_TEETH, UPPER_TEETH], "lashes": [LASHES]}[part]
    assets = load_assets()
    first = assets.quads[:, 0]
    chosen = np.zeros(len(first), bool)
    for vertices in ranges:
        chosen |= (first >= vertices.start) & (first < vertices.stop)

    def split(quads: np.ndarray) -> np.ndarray:
        return np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], 1).reshape(-1, 3)

    uv_indices = split(assets.quads_uv[chosen])
    return Surface(split(assets.quads[chosen]), assets.uv[uv_indices], uv_indices)


@dataclass(frozen=True)
class Skeleton:
    """Joints of one person in the rest pose."""

    joints: np.ndarray
    """(53, 3) metres."""
    tails: np.ndarray
    """(53, 3) metres."""


def skeleton_of(vertices: np.ndarray) -> Skeleton:
    """Joints as the means of their cubes' vertices: exact for every identity. `vertices` (19158, 3)."""
    assets = load_assets()
    return Skeleton(vertices[assets.joint_vertices].mean(1), vertices[assets.tail_vertices].mean(1))


def bone_transforms(skeleton: Skeleton, pose: dict[str, np.ndarray], root: np.ndarray | None = None) -> np.ndarray:
    """(53, 4, 4) float64 from the rest pose to the posed body.

    Args:
        pose: rotation vectors (3,) in radians about the body's own axes (x left, y up, z front), by bone; each turns
            everything below the bone about the bone's head.
        root: (3,) metres that the whole body moves.
    """
    assets = load_assets()
    out = np.zeros((len(assets.bones), 4, 4))
    for i, (name, parent) in enumerate(zip(assets.bones, assets.parents)):
        local = np.eye(4)
        if name in pose:
            local[:3, :3] = Rotation.from_rotvec(pose[name]).as_matrix()
            local[:3, 3] = skeleton.joints[i] - local[:3, :3] @ skeleton.joints[i]
        if parent < 0:
            local[:3, 3] += 0 if root is None else root
            out[i] = local
        else:
            out[i] = out[parent] @ local
    return out


def skin(vertices: np.ndarray, transforms: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Posed vertices (19158, 3) float32, or those of `chosen`; lashes, teeth and tongue follow the head."""
    assets = load_assets()
    weights, bones = assets.skin_weights[chosen], assets.skin_bones[chosen]
    blended = np.einsum("vk,vkij->vij", weights, transforms[bones, :3].astype(np.float32))
    return np.einsum("vij,vj->vi", blended[..., :3], vertices[chosen]) + blended[..., 3]


@functools.cache
def _incidence() -> tuple[np.ndarray, csr_matrix]:
    triangles = np.concatenate([surface(part).triangles for part in ("body", "tongue", "teeth", "lashes")])
    rows, columns = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    shape = (len(load_assets().vertices), len(triangles))
    return triangles, csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def vertex_normals(vertices: np.ndarray) -> np.ndarray:
    """(19158, 3) float32 unit normals, area-weighted, outwards; zero where no part has a triangle."""
    triangles, incidence = _incidence()
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normals = incidence @ np.cross(b - a, c - a)
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)
