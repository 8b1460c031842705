"""The square crop around a head that the bi-layer avatars are trained on."""

import numpy as np
from PIL import Image


def crop_square(keypoints: np.ndarray) -> tuple[np.ndarray, int]:
    """The square around a head: landmarks (68, 2) in pixels -> centre (2,) int64 and half side.

    The centre is the middle of the landmarks' box, rounded half to even, moved up by a sixth of the half side, which
    is the box's longer side.
    """
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    centre = np.rint((low.astype(np.float64) + high) / 2).astype(np.int64)
    half = int((high - low).max())
    centre[1] -= half // 6
    return centre, half


def crop_head(image: np.ndarray, keypoints: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut the square around a head out of a frame; what lies outside the frame is black.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (68, 2) pixels of `image`.
        size: height and width of the result.

    Returns:
        (size, size, 3) uint8, resized bicubically with antialiasing, and (68, 2) float32 pixels of it.
    """
    centre, half = crop_square(keypoints)
    left, top = (int(value) for value in centre - half)
    square = Image.fromarray(image).crop((left, top, left + 2 * half, top + 2 * half))
    resized = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
    return resized, ((keypoints - (left, top)) * (size / (2 * half))).astype(np.float32)
