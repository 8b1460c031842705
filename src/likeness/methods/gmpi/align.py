"""The crop that Deep3DFaceRecon sees, from five landmarks: its own network, and the depth that is compared with it.

Source: Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised Learning", CVPRW 2019, preprocessing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from likeness.errors import UserError

STANDARD_POINTS = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""(5, 3) left eye, right eye, nose, mouth left, mouth right of the mean face, y up."""
CROP = 224
FACE_SCALE = 102.0


@dataclass(frozen=True)
class FaceCrop:
    """Where a picture's crop lies: resize to `size`, then cut CROP x CROP from (left, top), black outside."""

    size: tuple[int, int]
    """(height, width) of the resized picture."""
    left: int
    top: int


def weak_perspective(landmarks: np.ndarray) -> tuple[np.ndarray, float]:
    """Translation (2,) and scale that map the standard points onto landmarks (5, 2), y up, by least squares.

    Raises:
        UserError: the points fix no scale.
    """
    system = np.concatenate([STANDARD_POINTS, np.ones((5, 1))], axis=1)  # (5, 4)
    solution, *_ = np.linalg.lstsq(system, np.asarray(landmarks, np.float64), rcond=None)  # (4, 2)
    scale = float(np.linalg.norm(solution[:3], axis=0).mean())
    if not scale > 1e-6:
        raise UserError("the five landmarks coincide: detect the face again, or put the picture on the fail list")
    return solution[3], scale


def face_crop(landmarks: np.ndarray, height: int, width: int) -> FaceCrop:
    """The crop of a picture of that size with landmarks (5, 2) in pixels, y down."""
    upright = np.asarray(landmarks, np.float64) * [1, -1] + [0, height - 1]
    (x, y), scale = weak_perspective(upright)
    factor = FACE_SCALE / scale
    return FaceCrop(
        (int(height * factor), int(width * factor)),
        int(x * factor - CROP / 2),
        int((height - y) * factor - CROP / 2),
    )


def cut(array: np.ndarray, crop: FaceCrop, resampling: Literal["bicubic", "nearest"] = "bicubic") -> np.ndarray:
    """(224, 224, ...) crop of a uint8 picture (H, W, 3), or with "nearest" of a float32 depth (H, W)."""
    how = Image.Resampling.BICUBIC if resampling == "bicubic" else Image.Resampling.NEAREST
    resized = Image.fromarray(array).resize(crop.size[::-1], how)
    return np.asarray(resized.crop((crop.left, crop.top, crop.left + CROP, crop.top + CROP)))
