"""Landmarks as the networks see them: normalised poses, and drawn polylines."""

import cv2
import numpy as np

PARTS: tuple[tuple[tuple[int, ...], bool, tuple[int, int, int]], ...] = (
    (tuple(range(17)), False, (255, 255, 255)),
    (tuple(range(17, 22)), False, (255, 0, 0)),
    (tuple(range(22, 27)), False, (0, 255, 0)),
    ((27, 28, 29, 30, 30, 33), False, (0, 0, 255)),
    (tuple(range(31, 36)), False, (0, 0, 255)),
    (tuple(range(36, 42)), True, (255, 0, 255)),
    (tuple(range(42, 48)), True, (0, 255, 255)),
    (tuple(range(48, 60)), True, (255, 255, 0)),
    (tuple(range(60, 68)), True, (255, 255, 0)),
)
"""Landmark indices, closed or not, RGB: jaw, brows, nose ridge and base, eyes, outer and inner lips."""

BACKGROUND = 1
"""Byte value of an empty stickman; published weights were trained with 1, not 0."""


def normalise(keypoints: np.ndarray, width: float) -> np.ndarray:
    """Pixels of a picture of that width (..., 68, 2) -> poses (..., 136) with [-1, 1] from edge to edge."""
    return (2 * keypoints / width - 1).reshape(*keypoints.shape[:-2], -1).astype(np.float32)


def draw(pose: np.ndarray, size: int, thickness: int = 2) -> np.ndarray:
    """Draw a pose (136,) -> stickman (3, size, size) float32 in [-1, 1]."""
    canvas = np.full((size, size, 3), BACKGROUND, np.uint8)
    # The limit keeps OpenCV's integers in range for landmarks far outside of the crop.
    pixels = np.clip((pose.reshape(-1, 2).astype(np.float64) + 1) / 2 * size, -4 * size, 5 * size).astype(np.int32)
    for indices, closed, colour in PARTS:
        cv2.polylines(canvas, [pixels[list(indices)]], closed, colour, thickness)
    return canvas.transpose(2, 0, 1).astype(np.float32) / 255 * 2 - 1


def flip(keypoints: np.ndarray, size: float) -> np.ndarray:
    """Mirror landmarks (68, 2) as the published helper does: x -> size - x, brows and eyes change places.

    Jaw, lips and nose keep their order, so a mirrored pose is good for drawing only.
    """
    mirrored = keypoints.copy()
    mirrored[:, 0] = size - mirrored[:, 0]
    order = np.arange(68)
    order[17:22], order[22:27] = np.arange(22, 27), np.arange(17, 22)
    order[36:42], order[42:48] = np.arange(42, 48), np.arange(36, 42)
    return mirrored[order]
