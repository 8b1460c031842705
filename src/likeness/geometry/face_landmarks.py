"""The 68 and 66 facial landmarks: groups, mirror images and the way from one set to the other.

68 is the iBUG / 300-W order; 66, the order of the 3DFAW challenge, lacks the two inner lip corners (60 and 64). "Left"
and "right" are the picture's.
"""

from typing import Final

import numpy as np

JAW: Final = tuple(range(17))
LEFT_BROW: Final = tuple(range(17, 22))
RIGHT_BROW: Final = tuple(range(22, 27))
NOSE_RIDGE: Final = tuple(range(27, 31))
NOSE_BASE: Final = tuple(range(31, 36))
LEFT_EYE: Final = tuple(range(36, 42))
RIGHT_EYE: Final = tuple(range(42, 48))
OUTER_LIPS: Final = tuple(range(48, 60))
INNER_LIPS: Final = tuple(range(60, 68))

OUTER_EYE_CORNERS: Final = (36, 45)
"""The corners whose distance measures how large a face is in a picture; the same in both sets."""

MIRROR_68: Final = (
    *reversed(range(17)),
    *(26, 25, 24, 23, 22, 21, 20, 19, 18, 17),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""Point i of a mirrored face is point MIRROR_68[i] of the original."""

KEPT_66: Final = tuple(index for index in range(68) if index not in (60, 64))
"""The 68-set indices that the 66-set keeps, in order."""


def to_66(points: np.ndarray) -> np.ndarray:
    """Points (..., 68, D) without the two inner lip corners, (..., 66, D)."""
    return points[..., list(KEPT_66), :]


def to_68(points: np.ndarray) -> np.ndarray:
    """Points (..., 66, D) with the inner lip corners put back, (..., 68, D), as DepthNet's tools do.

    Each corner is the mean of two outer lip points beside it: 60 of 59 and 49, 64 of 53 and 55.
    """
    left = points[..., [59, 49], :].mean(axis=-2, keepdims=True)
    right = points[..., [53, 55], :].mean(axis=-2, keepdims=True)
    parts = [points[..., :60, :], left, points[..., 60:63, :], right, points[..., 63:, :]]
    return np.concatenate(parts, axis=-2).astype(points.dtype, copy=False)


def mirror(points: np.ndarray, width: float) -> np.ndarray:
    """The 68 landmarks (..., 68, D) of the picture of `width` pixels mirrored left to right, order included."""
    mirrored = points[..., list(MIRROR_68), :].copy()
    mirrored[..., 0] = width - mirrored[..., 0]
    return mirrored


def eye_distance(points: np.ndarray) -> np.ndarray:
    """Distance (...) between the outer eye corners of 68 or 66 points (..., N, D), in the plane of the picture."""
    left, right = OUTER_EYE_CORNERS
    return np.linalg.norm(points[..., left, :2] - points[..., right, :2], axis=-1)


def five_points(points: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip and mouth corners (..., 5, D) of 68 points, left before right as MTCNN lists them."""
    eyes = [points[..., list(eye), :].mean(axis=-2) for eye in (LEFT_EYE, RIGHT_EYE)]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)
