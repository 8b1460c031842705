"""Landmarks of random faces without a renderer: thousands a second, exact in three dimensions."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likeness.capture.assets import load_assets
from likeness.capture.expression import draw_expression, unit_columns
from likeness.capture.identity import Identity, average_identity, draw_identity
from likeness.capture.landmarks import KEPT_66, LANDMARK_VERTICES, MIRROR_68

CROP_FACTOR, CROP_JITTER = 1.6, 0.1
CENTRE_YAW = np.radians(15)


@dataclass(frozen=True)
class FaceView:
    """How a face stands before the camera."""

    yaw: float
    """Radians; positive turns the nose towards the picture's right."""
    pitch: float
    """Radians; positive lowers the chin."""
    roll: float
    """Radians; positive turns the face clockwise in the picture."""
    distance: float
    """Camera to the middle of the face, decimetres."""

    @property
    def orientation(self) -> str:
        """`left`, `center` or `right`: the side of the picture that the nose points to."""
        if abs(self.yaw) < CENTRE_YAW:
            return "center"
        return "right" if self.yaw > 0 else "left"

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) from the body's axes to OpenCV camera axes."""
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        lean = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return np.diag([1.0, -1.0, -1.0]) @ lean @ nod @ turn


@dataclass(frozen=True)
class Faces:
    """Landmarks of n faces, each in the pixels of its own picture."""

    landmarks: np.ndarray
    """(n, 66, 3) float64: x right, y down, z away from the camera with 0 at the points' mean; pixels."""
    sizes: np.ndarray
    """(n, 2) int64 height, width."""
    orientations: np.ndarray
    """(n,) unicode: left, center, right."""

    def normalised(self) -> tuple[np.ndarray, np.ndarray]:
        """x/width, y/height as (n, 66, 2) float32 and z / mean side as (n, 66) float32."""
        height, width = self.sizes[:, 0], self.sizes[:, 1]
        plane = self.landmarks[..., :2] / np.stack([width, height], -1)[:, None]
        depth = self.landmarks[..., 2] / ((height + width) / 2)[:, None]
        return plane.astype(np.float32), depth.astype(np.float32)


def draw_view(rng: np.random.Generator, orientation: str | None = None) -> FaceView:
    """A view as face collections hold them: many near frontal, the rest up to 60 degrees to either side."""
    yaw = rng.normal(0, np.radians(9)) if rng.random() < 0.35 else rng.uniform(-1, 1) * np.radians(58)
    if orientation == "center":
        yaw = np.clip(yaw / 4, -0.99 * CENTRE_YAW, 0.99 * CENTRE_YAW)
    elif orientation is not None:
        yaw = rng.uniform(CENTRE_YAW * 1.01, np.radians(58)) * (1 if orientation == "right" else -1)
    return FaceView(
        yaw=float(yaw),
        pitch=float(np.clip(rng.normal(0, np.radians(9)), -0.45, 0.45)),
        roll=float(np.clip(rng.normal(0, np.radians(7)), -0.5, 0.5)),
        distance=float(rng.uniform(10, 30)),
    )


def face_points(identity: Identity, expression: np.ndarray) -> np.ndarray:
    """(68, 3) landmarks in the body's axes, decimetres, without posing the skeleton."""
    weights = identity.target_weights()
    weights[unit_columns()] += expression
    base, basis = _landmark_basis()
    return (base + np.tensordot(weights, basis, 1)) * identity.height


def mean_face_points() -> np.ndarray:
    """(68, 3) landmarks of the average adult, mirrored onto itself so that it is exactly symmetric."""
    points = face_points(average_identity(), np.zeros(52))
    return (points + points[MIRROR_68] * [-1, 1, 1]) / 2


def synthetic_faces(
    n: int, seed: int, *, crop: bool = True, start: int = 0, orientations: Sequence[str] | None = None
) -> Faces:
    """Random faces with exact landmarks in three dimensions.

    Face i depends on (seed, start + i) alone. With `crop` a picture is the square that photographs are cut to: centre
    of the box around the 66 points, side 1.6 x its larger side, both jittered by up to 10 %. Without it the face takes
    35 to 55 % of a picture of varying size, as in 3DFAW. `orientations` asks for left, center or right of each face.
    """
    turned = orientations or [None] * n
    faces = [_one_face(np.random.default_rng([seed, start + i]), crop, turned[i]) for i in range(n)]
    return Faces(
        landmarks=np.stack([face[0] for face in faces]) if faces else np.zeros((0, 66, 3)),
        sizes=np.array([face[1] for face in faces], np.int64).reshape(n, 2),
        orientations=np.array([face[2] for face in faces], dtype="<U6"),
    )


def photograph(points: np.ndarray, view: FaceView, box_side: float, centre: np.ndarray) -> np.ndarray:
    """Project (k, 3) body-axis points so that their 66-point box has `box_side` pixels and the given centre.

    z is pixels at the face's own distance: (Z - mean Z) * focal / mean Z.
    """
    local = (points - points.mean(0)) @ view.rotation.T + [0, 0, view.distance]
    plane = local[:, :2] / local[:, 2:]
    low, high = plane.min(0), plane.max(0)
    focal = box_side / (high - low).max()
    depth = (local[:, 2] - local[:, 2].mean()) * focal / local[:, 2].mean()
    return np.column_stack([(plane - (low + high) / 2) * focal + centre, depth])


def _one_face(rng: np.random.Generator, crop: bool, orientation: str | None) -> tuple[np.ndarray, tuple[int, int], str]:
    points = face_points(draw_identity(rng), draw_expression(rng))[KEPT_66]
    view = draw_view(rng, orientation)
    if crop:
        side = 256
        box = side / (CROP_FACTOR * (1 + rng.uniform(-CROP_JITTER, CROP_JITTER)))
        centre = side / 2 + rng.uniform(-CROP_JITTER, CROP_JITTER, 2) * box
        return photograph(points, view, box, centre), (side, side), view.orientation
    height, width = (int(side) for side in rng.integers(240, 720, 2))
    box = min(height, width) * rng.uniform(0.35, 0.55)
    centre = np.array([width, height]) / 2 + rng.uniform(-0.15, 0.15, 2) * min(height, width)
    return photograph(points, view, box, centre), (height, width), view.orientation


@functools.cache
def _landmark_basis() -> tuple[np.ndarray, np.ndarray]:
    assets = load_assets()
    return assets.vertices[LANDMARK_VERTICES].astype(np.float64), assets.basis(LANDMARK_VERTICES).astype(np.float64)
