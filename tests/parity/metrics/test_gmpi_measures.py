import numpy as np
import pytest
import torch

from likeness.metrics.depth import depth_error
from likeness.metrics.fid import frechet_distance, kernel_distance
from likeness.metrics.pose import angle_error


@pytest.fixture
def recorded(parity_dir):
    return np.load(parity_dir / "gmpi" / "metrics.npz")


def test_gmpi_depth_error(recorded):
    maps = [torch.from_numpy(recorded[name]) for name in ("depth", "face_depth", "face_mask")]
    np.testing.assert_allclose(depth_error(*maps), recorded["depth_error"], rtol=1e-5)


def test_gmpi_angle_error(recorded):
    found, rendered = (torch.from_numpy(recorded[name])[None] for name in ("face_angle", "render_pitch_yaw"))
    np.testing.assert_allclose(angle_error(found, rendered)[0], recorded["angle_error"], rtol=1e-5)


def test_gmpi_fid_and_kid(recorded):
    first, second = recorded["features_1"], recorded["features_2"]
    np.testing.assert_allclose(frechet_distance(first, second), recorded["fid"], rtol=1e-3)
    kid = kernel_distance(first, second, subsets=100, subset_size=100)
    np.testing.assert_allclose([kid.mean, kid.deviation], [recorded["kid_mean"], recorded["kid_std"]], rtol=1e-3)
