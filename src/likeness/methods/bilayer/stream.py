"""A talking head as a stream of landmarks: the sender extracts, the receiver predicts, bytes are counted."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from likeness.errors import UserError
from likeness.geometry.head_crop import crop_square
from likeness.media.video import VideoWriter
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.avatar import Avatar, Identity, pack, unpack
from likeness.methods.bilayer.prepare import Preparer


@dataclass(frozen=True)
class Rates:
    """What a stream costs, in kbit/s."""

    landmarks: float
    """Landmark messages alone."""
    source: float
    """Source pictures sent, spread over the stream."""
    h264: float
    """The same crops as H.264 at the same size and frame rate."""


class Streamer:
    """Both ends of a call in one object; `sent_bytes` counts what would cross the wire.

    Keypoints given without a picture are normalised by the crop of the last source, so that a head may move in it.
    """

    def __init__(self, avatar: Avatar, preparer: Preparer | None = None, background: float = 1.0):
        self.avatar, self.background = avatar, background
        self.preparer = preparer or Preparer(avatar.options.image_size)
        self.identity: Identity | None = None
        self.corner, self.side = np.zeros(2), 1.0
        self.frames = 0
        self.landmark_bytes = 0
        self.source_bytes = 0

    @property
    def sent_bytes(self) -> int:
        """Bytes of source pictures and landmark messages so far."""
        return self.landmark_bytes + self.source_bytes

    def extract_keypoints(self, frame: np.ndarray) -> np.ndarray:
        """Landmarks (68, 2) in pixels of a frame (H, W, 3) uint8.

        Raises:
            UserError: no face in the frame.
        """
        found = self.preparer.faces.detect(frame)
        if not found:
            raise UserError("no face was found in this frame")
        return max(found, key=lambda face: face.eye_distance).landmarks

    def update_source(self, frame: np.ndarray, keypoints: np.ndarray) -> None:
        """Send a frame as the new source: the identity is embedded once, here."""
        head = self.preparer.from_frame(frame, keypoints)
        self.identity = self.avatar.identify([head.image], [head.keypoints], [head.mask])
        centre, half = crop_square(keypoints)
        self.corner, self.side = centre - half, 2.0 * half
        packed = BytesIO()
        pixels = (head.image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
        Image.fromarray(pixels).save(packed, "JPEG", quality=90)
        self.source_bytes += len(packed.getvalue()) + len(pack(head.pose, 0))

    def predict(self, keypoints: np.ndarray) -> Tensor:
        """Send landmarks (68, 2), in pixels of the frame, and show what the receiver sees -> (3, S, S) in [0, 1].

        Raises:
            UserError: no source yet, or another number of landmarks.
        """
        if self.identity is None:
            raise UserError("there is no source yet: call update_source first")
        if keypoints.shape != (68, 2):
            raise UserError(f"expected 68 landmarks (68, 2), found {keypoints.shape}")
        message = pack(stickman.normalise(keypoints - self.corner, self.side), self.frames)
        self.frames += 1
        self.landmark_bytes += len(message)
        pose, _ = unpack(message)
        return self.identity.drive(pose).over(self.background)

    def rates(self, crops: Sequence[np.ndarray], rate: float) -> Rates:
        """Compare with H.264 of the driving crops (S, S, 3) uint8 at `rate` frames/s, see `h264_rate`."""
        seconds = max(self.frames, 1) / rate
        return Rates(
            self.landmark_bytes * 8 / seconds / 1000, self.source_bytes * 8 / seconds / 1000, h264_rate(crops, rate)
        )


def h264_rate(crops: Sequence[np.ndarray], rate: float) -> float:
    """Kbit/s of pictures (S, S, 3) uint8 at `rate` frames/s as H.264 (x264 veryfast, crf 28), headers included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "h264.mp4"
        with VideoWriter(path, rate, synthetic=False, crf=28) as writer:
            for crop in crops:
                writer.write(crop)
        return path.stat().st_size * 8 / (len(crops) / rate) / 1000
