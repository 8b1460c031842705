"""Time of a whole data set: 10,000 frames of the head avatars, from the frames of two smaller ones."""

import os
import resource
import tempfile
import time
from pathlib import Path

from benchmarks import Row
from likeness.capture.bilayer import BilayerCapture, capture_bilayer
from likeness.capture.person import make_person

FRAMES_OF_A_PERSON = 40
SMALL_SET, LARGE_SET = 40, 200
"""Frames of the two measured sets; what a frame costs is their difference, so that starting processes is not counted
10,000 / 200 times."""


def main() -> list[Row]:
    """Write both sets with two workers; people come from the cache."""
    for seed in range(LARGE_SET // FRAMES_OF_A_PERSON):
        make_person(seed)
    (wall, cpu), (large_wall, large_cpu) = _write_set(SMALL_SET), _write_set(LARGE_SET)
    frames = LARGE_SET - SMALL_SET
    wall_frame, cpu_frame = (large_wall - wall) / frames, (large_cpu - cpu) / frames
    what = f"10,000-frame bilayer set with videos, two workers, from {frames} frames, load {os.getloadavg()[0]:.1f}"
    return [
        Row(what + ", wall time", wall + 10_000 * wall_frame, "its CPU time on two idle cores", 5_000 * cpu_frame),
        Row("a frame of that set, 384x384 with its crop, files written, CPU time", cpu_frame, "wall time", wall_frame),
    ]


def _write_set(frames: int) -> tuple[float, float]:
    """Wall and CPU seconds of a set with two clips a person."""
    with tempfile.TemporaryDirectory() as folder:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        config = BilayerCapture(
            out=Path(folder) / "set",
            people=frames // FRAMES_OF_A_PERSON,
            videos=1,
            sequences=2,
            frames=FRAMES_OF_A_PERSON // 2,
            workers=2,
        )
        capture_bilayer(config)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
