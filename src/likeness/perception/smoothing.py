"""Steadier landmarks along a video: the one-euro filter (Casiez, Roussel and Vogel, CHI 2012)."""

import math
from collections.abc import Iterable, Iterator

import numpy as np


class OneEuroFilter:
    """A low-pass filter whose cut-off rises with speed: steady when still, prompt when moving.

    Args:
        min_cutoff: cut-off in Hz of points at rest; lower is steadier.
        speed_coefficient: rise of the cut-off in Hz for each unit of size a second; higher lags less.
        speed_cutoff: cut-off in Hz of the speed estimate.
    """

    def __init__(self, min_cutoff: float = 1.5, speed_coefficient: float = 4.0, speed_cutoff: float = 1.0):
        self.min_cutoff, self.speed_coefficient, self.speed_cutoff = min_cutoff, speed_coefficient, speed_cutoff
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None

    def __call__(self, points: np.ndarray, time: float, size: float = 1.0) -> np.ndarray:
        """The filtered points (N, D).

        Args:
            points: (N, D) in any unit.
            time: seconds, rising from call to call.
            size: a length in the same unit (such as the distance between the eyes) that makes the speed, and so the
                filter's settings, independent of the picture's size.
        """
        if self._last is None:
            self._last = (time, points, np.zeros_like(points))
            return points
        before, held, speed = self._last
        step = max(time - before, 1e-6)
        speed = speed + _share(self.speed_cutoff, step) * ((points - held) / (step * size) - speed)
        rate = np.linalg.norm(speed, axis=-1, keepdims=True)
        share = _share(self.min_cutoff + self.speed_coefficient * rate, step)
        held = (held + share * (points - held)).astype(points.dtype)
        self._last = (time, held, speed)
        return held


def smooth(points: Iterable[np.ndarray], times: Iterable[float], size: float) -> Iterator[np.ndarray]:
    """Filter a sequence of points (N, D) taken at `times` (seconds); `size` as in `OneEuroFilter`."""
    one_euro = OneEuroFilter()
    for frame, time in zip(points, times, strict=True):
        yield one_euro(frame, time, size)


def _share(cutoff, step: float):
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
