"""Eyeballs: a sphere with a cornea for each eye, turned by the gaze. `light_kernels.py` colours them."""

import functools

import numpy as np

from likeness.capture.assets import LEFT_EYE, RIGHT_EYE

RINGS, SPOKES = 20, 32
CORNEA = 0.055
"""The cornea's bulge as a share of the radius."""
IRIS_COLOURS = (
    np.array([[74, 46, 24], [92, 62, 34], [110, 92, 58], [86, 108, 126], [84, 104, 84], [52, 32, 18]]) / 255.0
)


@functools.cache
def sphere() -> tuple[np.ndarray, np.ndarray]:
    """Directions (610, 3) of a unit eyeball looking along +z, and triangles (T, 3)."""
    # Rings are denser near the axis, where the iris is.
    polar = np.pi * np.linspace(0, 1, RINGS + 1)[1:-1] ** 1.3
    turn = 2 * np.pi * np.arange(SPOKES) / SPOKES
    ring = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(turn),
            np.sin(polar)[:, None] * np.sin(turn),
            np.broadcast_to(np.cos(polar)[:, None], (RINGS - 1, SPOKES)),
        ],
        -1,
    ).reshape(-1, 3)
    directions = np.concatenate([[[0, 0, 1]], ring, [[0, 0, -1]]])
    following = (np.arange(SPOKES) + 1) % SPOKES
    triangles = [np.column_stack([np.zeros(SPOKES, int), 1 + np.arange(SPOKES), 1 + following])]
    for row in range(RINGS - 2):
        a, b = 1 + row * SPOKES + np.arange(SPOKES), 1 + row * SPOKES + following
        triangles += [np.column_stack([a, a + SPOKES, b]), np.column_stack([b, a + SPOKES, b + SPOKES])]
    last = 1 + (RINGS - 2) * SPOKES
    end = np.full(SPOKES, len(directions) - 1)
    triangles.append(np.column_stack([last + np.arange(SPOKES), end, last + following]))
    return directions.astype(np.float32), np.concatenate(triangles).astype(np.int32)


def place(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (2, 3) and radii (2,) of the left and right eye in the rest pose, from the helpers' boxes."""
    boxes = [(vertices[part].min(0), vertices[part].max(0)) for part in (LEFT_EYE, RIGHT_EYE)]
    centres = np.array([(low + high) / 2 for low, high in boxes])
    return centres, np.array([0.985 * (high - low)[:2].mean() / 2 for low, high in boxes])


def surface_points(directions: np.ndarray) -> np.ndarray:
    """Points of the unit eyeball with its cornea, from directions (..., 3)."""
    angle = np.arccos(np.clip(directions[..., 2], -1, 1))
    return directions * (1 + CORNEA * np.exp(-((angle / 0.42) ** 4)))[..., None]


def gaze_rotation(yaw: float, pitch: float) -> np.ndarray:
    """(3, 3) from an eyeball looking ahead to one that looks `yaw` to the subject's left and `pitch` up, radians."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]).T
