"""From any photograph or video frame to what the networks take: the crop around a head, its landmarks, its mask."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.errors import UserError
from likeness.geometry.head_crop import crop_head
from likeness.media.image import read_uint8
from likeness.media.video import read_frames
from likeness.methods.bilayer import stickman
from likeness.perception.faces import MediaPipeFaces
from likeness.perception.protocols import FaceTracker, Segmenter
from likeness.perception.segmentation import MediaPipeSegmenter, erode

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".webm", ".mkv", ".avi"})


@dataclass(frozen=True)
class Head:
    """One source frame."""

    image: np.ndarray
    """(3, S, S) float32 in [0, 1]."""
    keypoints: np.ndarray
    """(68, 2) float32 pixels of `image`."""
    mask: np.ndarray
    """(1, S, S) float32 in [0, 1]."""

    @property
    def pose(self) -> np.ndarray:
        """(136,) normalised landmarks."""
        return stickman.normalise(self.keypoints, self.image.shape[-1])


class Preparer:
    """Finds, crops and separates heads; `faces` and `segmenter` may be any backend of perception."""

    def __init__(self, size: int, faces: FaceTracker | None = None, segmenter: Segmenter | None = None):
        self.size = size
        self.faces = faces or MediaPipeFaces()
        self.segmenter = segmenter or MediaPipeSegmenter()

    def from_frame(self, frame: np.ndarray, keypoints: np.ndarray, size: int | None = None) -> Head:
        """Crop a frame (H, W, 3) uint8 around its landmarks (68, 2) and separate the person."""
        image, points = crop_head(frame, keypoints, size or self.size)
        mask = erode(self.segmenter(image)).astype(np.float32)
        return Head(image.transpose(2, 0, 1).astype(np.float32) / 255, points, mask[None])

    def from_file(self, path: Path, frame: int = 0) -> Head:
        """Prepare a photograph, or frame number `frame` (from 0, in decoding order) of a video.

        Raises:
            UserError: no such file, no such frame, or no face in it.
        """
        pixels = read_video_frame(path, frame) if path.suffix.lower() in VIDEO_SUFFIXES else read_uint8(path)
        found = self.faces.detect(pixels)
        if not found:
            raise UserError(
                "no face was found: give a picture in which one face is well lit and at least 60 pixels high", path=path
            )
        return self.from_frame(pixels, max(found, key=lambda face: face.eye_distance).landmarks)


def read_video_frame(path: Path, number: int) -> np.ndarray:
    """Frame `number` (from 0) of a video -> (H, W, 3) uint8.

    Raises:
        UserError: the video is shorter.
    """
    count = 0
    for frame in read_frames(path):
        if frame.index == number:
            return frame.image
        count = frame.index + 1
    raise UserError(f"frame {number} was asked for, found {count} frames (0 to {count - 1})", path=path)
