"""MediaPipe, imported when it is first needed, without its chatter, and asked for politely when it is missing."""

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from likeness.errors import UserError

VERSION = "0.10.21"
"""The last release that brings its models along."""

INSTALL = f"python -m pip install --no-deps mediapipe=={VERSION}"
"""The one command; what MediaPipe needs besides comes with `likeness` itself."""

_quiet_lock = threading.Lock()


def solution(name: str) -> Any:
    """MediaPipe's module `name` ("face_mesh", "selfie_segmentation", ...).

    Raises:
        UserError: MediaPipe is not installed, or a release without models is.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silenced():
            return importlib.import_module(f"mediapipe.python.solutions.{name}")
    except ImportError as error:
        raise UserError(
            f"finding faces and bodies needs MediaPipe {VERSION} ({error}); install it with:\n  {INSTALL}"
        ) from error


class QuietModel:
    """One of MediaPipe's models, run once on a black picture; silent until it has `found` something once.

    Models load, and log, at the first run, and log again at the first find.
    """

    def __init__(self, build: Callable[[], Any], found: Callable[[Any], bool] = lambda result: True):
        self._found, self._talkative = found, True
        with silenced():
            self._model = build()
            for _ in range(2):  # parts of the model are still being loaded when the first run returns
                self._model.process(np.zeros((64, 64, 3), np.uint8))

    def process(self, image: np.ndarray) -> Any:
        """MediaPipe's result for a square (H, H, 3) uint8."""
        if not self._talkative:
            return self._model.process(image)
        with silenced():
            result = self._model.process(image)
        self._talkative = not self._found(result)
        return result

    def close(self) -> None:
        """Free the model."""
        self._model.close()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what native code writes to the standard error stream meanwhile; its log levels cannot be set from Python."""
    with _quiet_lock:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def squared(image: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) padded at the right or bottom to a square.

    MediaPipe's coordinates are fractions of the width and the height; its geometry is exact only where these agree.
    """
    height, width = image.shape[:2]
    if height == width:
        return np.ascontiguousarray(image)
    side = max(height, width)
    padded = np.zeros((side, side, 3), np.uint8)
    padded[:height, :width] = image
    return padded
