"""A performing person as one list of triangles, ready for the rasteriser."""

import functools
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import warp as wp

from likeness.capture import eyes, strand_kernels
from likeness.capture.assets import load_assets
from likeness.capture.body import bone_transforms, skin, surface, vertex_normals
from likeness.capture.hair import Hair, coarser
from likeness.capture.performance import Performance
from likeness.capture.person import Person
from likeness.kernels import as_array, launch


class Material(IntEnum):
    """How a triangle is shaded."""

    BODY = 0
    TONGUE = 1
    TEETH = 2
    EYE = 3
    HAIR = 4


BASE_PARTS = (
    ("body", Material.BODY),
    ("tongue", Material.TONGUE),
    ("teeth", Material.TEETH),
)


@dataclass(frozen=True)
class Scene:
    """Triangles in the world, metres."""

    vertices: np.ndarray
    """(V, 3) float32: the base mesh's vertices first, then eyes, then hair."""
    normals: np.ndarray
    """(V, 3) float32; for hair the strand's direction."""
    local: np.ndarray
    """(V, 3) float32: direction on the eyeball, or (brightness, share of the way to the tip, 0) of hair."""
    triangles: np.ndarray
    """(T, 3) int32: the base mesh's, the eyes', then the hair's from the nearest to the farthest."""
    casters: np.ndarray
    """(C, 3) int32: the triangles that throw the shadow."""
    materials: np.ndarray
    """(T,) uint8 of `Material`."""
    corners_uv: np.ndarray
    """(B, 3, 2) float32 of the first B triangles, which are the body's."""
    hair_start: int
    """Where the hair's vertices begin: two a point, the ribbon's edges."""
    transforms: np.ndarray
    """(53, 4, 4) bones, rest to pose."""
    joints: np.ndarray
    """(53, 3) posed joints, metres."""


def assemble(person: Person, act: Performance, eye: np.ndarray, resolution: float) -> Scene:
    """Pose a person; hair ribbons face the point `eye` (3,) in the world.

    `resolution` is the angle of one sample in radians: the smaller somebody is in the picture, the fewer and wider
    ribbons are drawn, and none is thinner than a sample.
    """
    sample = resolution * float(np.linalg.norm(eye - person.face_center - act.root))
    hair = coarser(person.hair, sample)
    rest = person.with_expression(act.expression)
    transforms = bone_transforms(person.skeleton, act.bones(), act.root)
    body = skin(rest, transforms)
    head = transforms[load_assets().bones.index("head")]
    solid = [(body, vertex_normals(body), np.zeros_like(body))]
    solid += [_eyeball(person, act, head, k) for k in (0, 1)]
    first_eye, second_eye, hair_start = np.cumsum([len(part[0]) for part in solid]).tolist()
    strands, count = hair.points.shape[:2]
    vertices, normals, local = (np.empty((hair_start + 2 * strands * count, 3), np.float32) for _ in range(3))
    for k, whole in enumerate((vertices, normals, local)):
        np.concatenate([part[k] for part in solid], out=whole[:hair_start])
    edges = (values[hair_start:].reshape(strands, count, 2, 3) for values in (vertices, normals, local))
    distances = _ribbons(person, hair, transforms, eye, *edges)
    base, materials, corners_uv = _base_triangles()
    triangles = [base, eyes.sphere()[1] + first_eye, eyes.sphere()[1] + second_eye]
    pieces = _ribbon_triangles(strands, count, hair_start)
    # A third of the hair throws nearly the shadow of all of it.
    casters = np.concatenate([*triangles, pieces.reshape(-1, 3)[::3]])
    # What is hidden costs the rasteriser little when what hides it comes first.
    triangles.append(pieces[ascending(distances)].reshape(-1, 3))
    kinds = [materials]
    kinds += [np.full(len(triangles[k]), Material.EYE, np.uint8) for k in (1, 2)]
    kinds.append(np.full(len(triangles[3]), Material.HAIR, np.uint8))
    joints = np.einsum("bij,bj->bi", transforms[:, :3, :3], person.skeleton.joints) + transforms[:, :3, 3]
    return Scene(
        vertices,
        normals,
        local,
        np.concatenate(triangles),
        casters,
        np.concatenate(kinds),
        corners_uv,
        hair_start,
        transforms,
        joints,
    )


@functools.cache
def _base_triangles() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    triangles = [surface(part).triangles for part, _ in BASE_PARTS]
    kinds = [np.full(len(t), kind, np.uint8) for t, (_, kind) in zip(triangles, BASE_PARTS)]
    return np.concatenate(triangles).astype(np.int32), np.concatenate(kinds), surface("body").corners_uv


def _eyeball(person: Person, act: Performance, head: np.ndarray, k: int):
    directions, _ = eyes.sphere()
    turned = directions @ eyes.gaze_rotation(*act.gaze).T @ head[:3, :3].T
    shape = eyes.surface_points(directions) @ eyes.gaze_rotation(*act.gaze).T @ head[:3, :3].T
    centre = head[:3, :3] @ person.eye_centres[k] + head[:3, 3]
    return centre + person.eye_radii[k] * shape, turned, directions


def _ribbons(
    person: Person,
    hair: Hair,
    transforms: np.ndarray,
    eye: np.ndarray,
    edges: np.ndarray,
    tangents: np.ndarray,
    local: np.ndarray,
) -> np.ndarray:
    """Fill in the ribbons' edges, directions and (brightness, share of the way, 0), each (S, P, 2, 3).

    Returns:
        (S (P - 1),) float32 squared distance of every piece from the eye.
    """
    bones = load_assets().bones
    strands, count = hair.points.shape[:2]
    distances = np.empty((strands, count - 1), np.float32)
    head, chest = (transforms[bones.index(bone)] for bone in ("head", "spine_03"))
    if strands:
        arguments = [
            as_array(torch.from_numpy(hair.points), wp.vec3),
            as_array(torch.from_numpy(hair.shade), wp.float32),
            wp.mat44(*head.ravel()),
            wp.mat44(*chest.ravel()),
            float(person.skeleton.joints[bones.index("head"), 1]) - 0.12,
            wp.vec3(*eye),
            hair.width,
            *(as_array(torch.from_numpy(values), wp.vec3) for values in (edges, tangents, local)),
            as_array(torch.from_numpy(distances), wp.float32),
        ]
        launch(strand_kernels.ribbons, strands, arguments, torch.device("cpu"))
    return distances.ravel()


def ascending(distances: np.ndarray) -> np.ndarray:
    """Order of distances (N,), to a 65,000th of their range: numbers of 16 bits are sorted in one pass."""
    if not len(distances):
        return np.zeros(0, np.int64)
    low, high = distances.min(), distances.max()
    return np.argsort(((distances - low) * (65535 / max(high - low, 1e-9))).astype(np.uint16), kind="stable")


@functools.lru_cache(maxsize=8)
def _ribbon_triangles(strands: int, count: int, first: int) -> np.ndarray:
    """(S (P - 1), 2, 3) int32: two triangles a piece, vertices counted from `first`."""
    start = (np.arange(strands)[:, None] * count + np.arange(count - 1)).ravel() * 2 + first
    pieces = [np.column_stack([start, start + 1, start + 2]), np.column_stack([start + 1, start + 3, start + 2])]
    return np.stack(pieces, 1).astype(np.int32)
