"""A face in any photograph, cut to the square that DepthNet works in, warped there and pasted back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from likeness.geometry.face_landmarks import to_66, to_68
from likeness.media.image import read_uint8, resize_uint8
from likeness.methods.depthnet.facewarper import read_landmark_file
from likeness.methods.depthnet.overlay import composite
from likeness.methods.depthnet.turning import pixel_affine
from likeness.perception.faces import find_face
from likeness.perception.protocols import FaceTracker
from likeness.render.face_warp import warp_face

SIDE = 1.6
"""Side of the square, in the larger side of the box around the 66 landmarks; its centre is the box's."""

FEATHER = 0.04
"""Width of the faded rim, in sides of the square."""

Background = Literal["photo", "black"]


@dataclass(frozen=True)
class FacePhoto:
    """A photograph and the face in it."""

    picture: np.ndarray
    """(H, W, 3) uint8."""
    crop: np.ndarray
    """(S, S, 3) uint8, the square around the face; beyond the photograph its edge is repeated."""
    corner: tuple[int, int]
    """(left, top) of the square in the photograph; may be negative."""
    points: np.ndarray
    """(66, 2) landmarks in the square, in [0, 1]."""
    depth: np.ndarray | None
    """(66,) relative depth of the landmarks as the tracker sees it, in sides of the square; None from plain files."""

    @property
    def side(self) -> int:
        """Pixels of the square's side."""
        return self.crop.shape[0]


def open_photo(
    path: Path,
    landmarks: Path | None = None,
    separator: str = ",",
    face: int | None = None,
    any_face: bool = False,
    tracker: FaceTracker | None = None,
) -> FacePhoto:
    """Read a photograph and find its face, or take 66 (or 68) landmarks from a file.

    Raises:
        UserError: no such picture, no human face, a face too small, or a landmark file that cannot be understood.
    """
    picture = read_uint8(path)
    if landmarks is not None:
        table = read_landmark_file(landmarks, separator)
        return cut_square(picture, table[:, :2], table[:, 2] if table.shape[1] == 3 else None)
    found = find_face(picture, face=face, any_face=any_face, tracker=tracker, path=path)
    solid = to_66(found.points_3d)
    return cut_square(picture, solid[:, :2], solid[:, 2])


def cut_square(picture: np.ndarray, points: np.ndarray, depth: np.ndarray | None = None) -> FacePhoto:
    """The square around landmarks (66, 2) in pixels; depths (66,) in pixels are brought to sides of the square."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(2, round(SIDE * float((high - low).max())))
    left, top = (int(value) for value in np.floor((low + high) / 2 - side / 2 + 0.5))
    rows = np.clip(np.arange(top, top + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, picture.shape[1] - 1)
    crop = np.ascontiguousarray(picture[rows[:, None], columns[None, :]])
    inside = (points - (left, top)) / side
    return FacePhoto(picture, crop, (left, top), inside, None if depth is None else depth / side)


def warp_photo(
    source: FacePhoto,
    depth: np.ndarray,
    affine: np.ndarray,
    *,
    onto: FacePhoto | None = None,
    background: Background = "photo",
    view_depth: np.ndarray | None = None,
) -> np.ndarray:
    """Move the face of `source` and paste it into its own photograph, or into that of `onto`.

    Args:
        depth: (66,) and affine (2, 4): in sides of the square, as a generator gives them.
        onto: another photograph whose square takes the face.
        background: what surrounds the face.
        view_depth: (66,) depth along the view after the move, larger is farther; given, the nearest triangle is shown
            instead of the one painted last.

    Returns:
        (H, W, 3) uint8 of the photograph pasted into.
    """
    base = source if onto is None else onto
    texture = source.crop
    if base.side != source.side:
        texture = resize_uint8(texture, (base.side, base.side))
    keypoints = to_68(source.points) * base.side
    depth_68 = to_68(depth[:, None])[:, 0]
    matrix = pixel_affine(affine, base.side, base.side)
    view = None if view_depth is None else to_68(view_depth[:, None])[:, 0]
    seen = warp_face(texture, keypoints, depth_68, matrix, view_depth=view)
    image, coverage = seen.image, seen.coverage
    pasted = composite(image, base.crop, coverage, FEATHER * base.side)
    whole = np.zeros_like(base.picture) if background == "black" else base.picture.copy()
    height, width = whole.shape[:2]
    (left, top), side = base.corner, base.side
    target = np.s_[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    part = np.s_[max(-top, 0) : min(height - top, side), max(-left, 0) : min(width - left, side)]
    if background == "black":
        pasted = np.where(coverage[..., None], image, 0)
    whole[target] = pasted[part]
    return whole
