"""Bodies by MediaPipe: 33 joints of one person, in pixels and in metres."""

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np

from likeness.perception.protocols import Body
from likeness.perception.runtime import QuietModel, solution, squared

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 0, 11, 12, 23, 24
"""Joints used by name; "left" is the person's. The order is that of MediaPipe's pose landmarks."""


class MediaPipeBodies:
    """The `BodyTracker` of MediaPipe's pose model of middle size, the one its package contains."""

    def __init__(self) -> None:
        self._pose = solution("pose")

    def detect(self, image: np.ndarray) -> Body | None:
        """See `BodyTracker.detect`."""
        with contextlib.closing(self._model(static_image_mode=True)) as model:
            return _body(model, image)

    def follow(self, frames: Iterable[np.ndarray]) -> Iterator[Body | None]:
        """See `BodyTracker.follow`; joints are smoothed along the frames by the model's own filter."""
        with contextlib.closing(self._model(static_image_mode=False)) as model:
            for image in frames:
                yield _body(model, image)

    def _model(self, static_image_mode: bool) -> QuietModel:
        return QuietModel(
            lambda: self._pose.Pose(static_image_mode=static_image_mode, model_complexity=1),
            lambda result: result.pose_landmarks is not None,
        )


def _body(model, image: np.ndarray) -> Body | None:
    side = max(image.shape[:2])
    found = model.process(squared(image))
    if found.pose_landmarks is None:
        return None
    joints = np.array([(p.x * side, p.y * side) for p in found.pose_landmarks.landmark], np.float32)
    visibility = np.array([p.visibility for p in found.pose_landmarks.landmark], np.float32)
    world = np.array([(p.x, p.y, p.z) for p in found.pose_world_landmarks.landmark], np.float32)
    return Body(joints, world, visibility)
