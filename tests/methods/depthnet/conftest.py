"""Small prepared data sets and runs for the tests of DepthNet."""

import numpy as np
import pytest

from likeness.formats.depthnet3dfaw import LandmarkArchive, save_archive


def random_faces(n, seed, orientations=False):
    rng = np.random.default_rng(seed)
    base, depth = np.random.default_rng(99).random((66, 2)), np.random.default_rng(98).normal(0, 0.1, 66)
    xy = (0.2 + 0.6 * base + rng.normal(0, 0.02, (n, 66, 2))).astype(np.float32)
    z = (depth + rng.normal(0, 0.02, (n, 66))).astype(np.float32)
    ids = np.array([f"id{i:03d}" for i in range(n)])
    named = np.array([("left", "center", "right")[i % 3] for i in range(n)]) if orientations else None
    return LandmarkArchive(xy, z, ids, named)


@pytest.fixture
def faces():
    return random_faces


@pytest.fixture
def prepared(tmp_path):
    """A folder of prepared archives: 20 training, 12 validation, 9 test faces."""
    folder = tmp_path / "prepared"
    save_archive(folder / "train.npz", random_faces(20, 0))
    save_archive(folder / "valid.npz", random_faces(12, 1))
    save_archive(folder / "test.npz", random_faces(9, 2, orientations=True))
    return folder
