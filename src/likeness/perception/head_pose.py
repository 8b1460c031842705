"""Where a head points: the mean face's 68 points fitted to the landmarks (perspective-n-point)."""

from dataclasses import dataclass

import cv2
import numpy as np

from likeness.geometry.mean_face import mean_face


@dataclass(frozen=True)
class HeadPose:
    """Rotation and translation from the mean face to the camera (OpenCV axes)."""

    rotation: np.ndarray
    """(3, 3) float64; the identity is a face seen from the front."""
    translation: np.ndarray
    """(3,) float64 millimetres; the depth scales with the focal length that was assumed."""
    yaw: float
    """Degrees about the vertical axis, positive when the nose points to the picture's left."""
    pitch: float
    """Degrees about the horizontal axis, positive when the nose points up."""
    roll: float
    """Degrees in the picture's plane, positive when the head turns clockwise as seen."""
    error: float
    """Mean reprojection error in pixels."""


def head_pose(landmarks: np.ndarray, size: tuple[int, int], focal: float | None = None) -> HeadPose:
    """Solve the pose of a head.

    Args:
        landmarks: (68, 2) pixels, iBUG order.
        size: (height, width) of the picture; its middle is taken for the principal point.
        focal: focal length in pixels; default 1.2 times the longer side.

    Raises:
        ValueError: the landmarks are not (68, 2) finite numbers.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"expected 68 finite landmarks (68, 2), got {points.shape}")
    height, width = size
    focal = focal or 1.2 * max(size)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    model = mean_face().numpy()
    _, turn, shift = cv2.solvePnP(model, points, intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)
    turn, shift = cv2.solvePnPRefineLM(model, points, intrinsics, None, turn, shift)
    projected, _ = cv2.projectPoints(model, turn, shift, intrinsics, None)
    rotation, _ = cv2.Rodrigues(turn)
    yaw, pitch, roll = angles(rotation)
    error = float(np.linalg.norm(projected[:, 0] - points, axis=1).mean())
    return HeadPose(rotation, shift[:, 0], yaw, pitch, roll, error)


def angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of R = Rz(roll) Rx(-pitch) Ry(yaw); see `HeadPose` for the signs."""
    pitch = np.arcsin(np.clip(-rotation[2, 1], -1, 1))
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
