"""A performing person as one list of triangles, ready for the rasteriser."""

import functools
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from likeness.capture import eyes
from likeness.capture.assets import load_assets
from likeness.capture.body import bone_transforms, skin, surface, vertex_normals
from likeness.capture.performance import Performance
from likeness.capture.person import Person


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
    """(T, 3) int32."""
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

    `resolution` is the angle of one sample in radians: no ribbon is drawn thinner than a sample.
    """
    rest = person.with_expression(act.expression)
    transforms = bone_transforms(person.skeleton, act.bones(), act.root)
    body = skin(rest, transforms)
    head = transforms[load_assets().bones.index("head")]
    parts = [(body, vertex_normals(body), np.zeros_like(body))]
    parts += [_eyeball(person, act, head, k) for k in (0, 1)]
    parts.append(_ribbons(person, transforms, eye, resolution))
    base, materials, corners_uv = _base_triangles()
    starts = np.cumsum([0] + [len(part[0]) for part in parts]).tolist()
    triangles = [base]
    triangles += [eyes.sphere()[1] + starts[k] for k in (1, 2)]
    triangles.append(_ribbon_triangles(*person.hair.points.shape[:2]) + starts[3])
    kinds = [materials]
    kinds += [np.full(len(triangles[k]), Material.EYE, np.uint8) for k in (1, 2)]
    kinds.append(np.full(len(triangles[3]), Material.HAIR, np.uint8))
    joints = np.einsum("bij,bj->bi", transforms[:, :3, :3], person.skeleton.joints) + transforms[:, :3, 3]
    vertices, normals, local = (np.concatenate([part[k] for part in parts]).astype(np.float32) for k in range(3))
    return Scene(
        vertices,
        normals,
        local,
        np.concatenate(triangles),
        np.concatenate(kinds),
        corners_uv,
        starts[3],
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


def _ribbons(person: Person, transforms: np.ndarray, eye: np.ndarray, resolution: float):
    hair = person.hair
    strands, count = hair.points.shape[:2]
    if not strands:
        return (np.zeros((0, 3)),) * 3
    bones = load_assets().bones
    # What hangs below the chin stays with the shoulders when the head turns.
    height = hair.points[..., 1] - person.skeleton.joints[bones.index("head"), 1]
    to_head = np.clip((height + 0.12) / 0.14, 0, 1)[..., None].astype(np.float32)
    poses = [transforms[bones.index(bone)][:3].astype(np.float32) for bone in ("head", "spine_03")]
    by_head, by_chest = (hair.points @ pose[:, :3].T + pose[:, 3] for pose in poses)
    points = by_chest + to_head * (by_head - by_chest)
    tangent = np.empty_like(points)
    tangent[:, :-1] = points[:, 1:] - points[:, :-1]
    tangent[:, -1] = tangent[:, -2]
    tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-9)
    side = np.cross(tangent, eye.astype(np.float32) - points)
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    along = np.linspace(0, 1, count, dtype=np.float32)
    thinnest = 0.8 * resolution * float(np.linalg.norm(eye - by_head.mean((0, 1))))
    half = (0.5 * max(hair.width, thinnest) * (1 - 0.65 * along**2))[None, :, None].astype(np.float32)
    both = np.stack([points - half * side, points + half * side], 2)
    local = np.stack(np.broadcast_arrays(hair.shade[:, None], along[None], np.float32(0)), -1)
    double = (np.repeat(values[:, :, None], 2, axis=2).reshape(-1, 3) for values in (tangent, local))
    return both.reshape(-1, 3), *double


@functools.lru_cache(maxsize=8)
def _ribbon_triangles(strands: int, count: int) -> np.ndarray:
    start = (np.arange(strands)[:, None] * count + np.arange(count - 1)).ravel() * 2
    quads = [np.column_stack([start, start + 1, start + 2]), np.column_stack([start + 1, start + 3, start + 2])]
    return np.concatenate(quads).astype(np.int32)
