"""A portrait collection of painted discs, small enough to train on in seconds."""

import numpy as np
import pytest

from likeness.formats import portraits


def paint(k: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(k)
    y, x = np.mgrid[:size, :size] / size - 0.5
    shift = rng.uniform(-0.1, 0.1, 2)
    disc = ((x - shift[0]) ** 2 + (y - shift[1]) ** 2 < 0.1)[..., None]
    return np.where(disc, rng.integers(100, 255, 3), rng.integers(0, 100, 3)).astype(np.uint8)


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A folder laid out as runtime_dataset with an FFHQ of 16 pictures, 16 pixels."""
    folder = tmp_path_factory.mktemp("runtime_dataset")
    names = portraits.write_ffhq(folder / "ffhq16x16.zip", (paint(k, 16) for k in range(16)))
    for k, name in enumerate(names):
        angle = np.random.default_rng(k).uniform(-0.2, 0.2, 3)
        path = folder / "ffhq16_deep3dface_coeffs" / name.replace("png", "mat")
        portraits.write_coefficients(path, angle=angle, trans=np.zeros(3), origin="painted")
    portraits.write_fail_list(folder / "ffhq16_deep3dface_coeffs", [])
    return folder


@pytest.fixture(scope="session")
def mediapipe_installed() -> None:
    """Skips where MediaPipe is not installed."""
    pytest.importorskip("mediapipe")
