from pathlib import Path

import numpy as np
import pytest

from likeness.capture.light import draw_light
from likeness.capture.performance import talking_clip
from likeness.capture.person import make_person
from likeness.capture.stage import portrait_camera, take

STATUS = Path("/proc/self/status")
ALLOWED = 32


def resident():
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc")
def test_resident_memory_after_500_frames_is_that_after_50(cache_of_the_tests):
    sizes = []
    for clip in range(10):
        rng = np.random.default_rng(clip)
        # Ten people among the first fifty frames already, so that what each person keeps would show later.
        for act in talking_clip(50, rng):
            person = make_person(int(rng.integers(10)))
            take(person, act, portrait_camera(person, (128, 128)), draw_light(rng))
        sizes.append(resident())
    print("\nresident memory in MB after each 50 frames: " + " ".join(f"{size:.0f}" for size in sizes))
    assert sizes[-1] < sizes[0] + ALLOWED
