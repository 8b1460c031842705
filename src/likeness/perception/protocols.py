"""What any backend of perception offers; the defaults work out of the box, heavier ones are one new file each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from likeness.geometry.face_landmarks import eye_distance, to_66


@dataclass(frozen=True)
class Face:
    """One face in a picture, in pixels (x right, y down, pixel centres at +0.5)."""

    landmarks: np.ndarray
    """(68, 2) float32, iBUG order."""
    depth: np.ndarray
    """(68,) float32 relative depth in pixels, larger is farther; weak perspective, zero near the face's centre."""
    mesh: np.ndarray | None = None
    """(478, 3) float32 dense points and depth, where the backend has them (478 = MediaPipe with irises)."""

    @property
    def landmarks_66(self) -> np.ndarray:
        """(66, 2) the landmarks without the inner lip corners."""
        return to_66(self.landmarks)

    @property
    def points_3d(self) -> np.ndarray:
        """(68, 3) landmarks and relative depth."""
        return np.concatenate([self.landmarks, self.depth[:, None]], axis=1)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of the landmarks."""
        (left, top), (right, bottom) = self.landmarks.min(axis=0), self.landmarks.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def eye_distance(self) -> float:
        """Pixels between the outer eye corners."""
        return float(eye_distance(self.landmarks))


@dataclass(frozen=True)
class Body:
    """One person's joints."""

    joints: np.ndarray
    """(33, 2) float32 pixels, in MediaPipe's order."""
    world: np.ndarray
    """(33, 3) float32 metres, origin between the hips, axes as OpenCV's."""
    visibility: np.ndarray
    """(33,) float32 in [0, 1]."""


class FaceTracker(Protocol):
    """Finds faces in stills and follows one in a video."""

    def detect(self, image: np.ndarray, any_face: bool = False) -> list[Face]:
        """All faces of a still (H, W, 3) uint8, from left to right.

        Without `any_face` only those that a second detector takes for human faces too.
        """

    def follow(
        self, frames: Iterable[np.ndarray], face: int | None = None, any_face: bool = False
    ) -> Iterator[Face | None]:
        """One face or None for each frame (H, W, 3) uint8: the `face`-th from the left (from 1), or the largest."""


class Segmenter(Protocol):
    """Separates a person from the background."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Soft foreground mask (H, W) float32 in [0, 1] of (H, W, 3) uint8."""


class IdentityEncoder(Protocol):
    """Turns a face into a vector that tells people apart."""

    name: str
    """The model, as figures made with it are labelled."""

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Embedding (D,) float32 of the face with 68 `landmarks` (68, 2) in the picture (H, W, 3) uint8."""


class BodyTracker(Protocol):
    """Finds the joints of the most visible person."""

    def detect(self, image: np.ndarray) -> Body | None:
        """The person in a still (H, W, 3) uint8, or None."""

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[Body | None]:
        """The person, or None, in each frame of a video."""
