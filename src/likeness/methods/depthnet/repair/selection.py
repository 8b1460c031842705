"""Which faces train the repair, and how their pictures are prepared (Moniz et al., section 3.3 and supplement)."""

from collections.abc import Mapping
from typing import Literal

import cv2
import numpy as np

from likeness.methods.depthnet.repair.archives import SIDE

Rules = Literal["celeba", "vgg"]
Role = Literal["source", "target"]

CROP: Mapping[str, tuple[float, float]] = {"celeba": (1.2, 0.19), "vgg": (1.12, 0.0)}
"""Side of the square crop, and how far its centre lies above that of the box around the 68 landmarks, both in that
box's larger side. The published crops come from a Haar detector, which OpenCV no longer has: CelebA's are medians of
OpenCV 4's squares on 80 faces (sides 1.12 to 1.30, heights 0.15 to 0.23), and its frontal rule takes as many faces
cropped so as in the squares themselves; VGG's let a frontal chin end where its rule wants it."""

ZOOMED = 60
"""Side to which a warped face is zoomed out."""


def profile_score(landmarks: np.ndarray) -> float:
    """|dR - dL| / (dR + dL) of 68 landmarks (68, 2): 0 frontal, 1 profile.

    dR and dL are the mean squared distances of the four upper jaw points of one side to points of the midline.
    """
    midline = landmarks[[28, 30, 33, 62]]
    right, left = (
        float(np.square(landmarks[side] - midline).sum(1).mean()) for side in ([16, 15, 14, 13], [0, 1, 2, 3])
    )
    return abs(right - left) / (right + left)


def role(landmarks: np.ndarray, rules: Rules) -> Role | None:
    """What a crop with landmarks (68, 2) in its 80 x 80 pixels serves as; None for neither.

    A source is seen from the side (score above 0.5); a target is frontal and upright. The frontal rule of CelebA
    compares x and y of one point, as published.
    """
    score = profile_score(landmarks)
    x, y = landmarks[:, 0], landmarks[:, 1]
    if rules == "vgg":
        fills = abs((SIDE - x[16]) - x[0]) < 8 and SIDE - y[8] < 8 and y[7:10].min() < 76
        if not fills:
            return None
        frontal = score < 0.18 and abs(x[27] - x[8]) < 4
    else:
        frontal = score < 0.2 and abs(x[27] - y[27]) < 10
    if score > 0.5:
        return "source"
    return "target" if frontal else None


def crop_face(picture: np.ndarray, landmarks: np.ndarray, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """The 80 x 80 crop (uint8) around landmarks (68, 2) of a picture (H, W, 3), and the landmarks in it."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    extent = float((high - low).max())
    factor, above = CROP[rules]
    side = max(2.0, factor * extent)
    corner = (low + high) / 2 - side / 2 - np.array([0.0, above * extent])
    scale = SIDE / side
    # Pixel centres lie at +0.5, OpenCV's at whole numbers.
    shift = (0.5 - corner) * scale - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT)
    return crop, (landmarks - corner) * scale


def zoom_out(warp: np.ndarray) -> np.ndarray:
    """A warped face (80, 80, 3) uint8 shrunk to 60 x 60 and laid on black at rows 17 to 76, columns 10 to 69."""
    small = cv2.resize(warp.astype(np.float64) / 255, (ZOOMED, ZOOMED), interpolation=cv2.INTER_LINEAR)
    canvas = np.zeros_like(warp)
    canvas[17:77, 10:70] = np.floor(255 * small)
    return canvas


def mask_face(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The picture with the face, the polygon of jaw and brows, filled with 0 (the rule of CelebA)."""
    outline = landmarks[[*range(16, -1, -1), *range(17, 27)]]
    masked = picture.copy()
    cv2.fillPoly(masked, [np.rint(outline).astype(np.int32)], (0, 0, 0))
    return masked


def mask_warp(picture: np.ndarray, identity_warp: np.ndarray) -> np.ndarray:
    """The picture where the face cut out by the identity warp is black (the rule of VGG)."""
    return picture * ~identity_warp.any(-1, keepdims=True)
