"""The five-point alignment, on points made by a known camera."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from likeness.errors import UserError
from likeness.methods.gmpi.align import CROP, STANDARD_POINTS, cut, face_crop, weak_perspective


def test_D04_alignment_recovers_scale_and_translation():
    turned = STANDARD_POINTS @ Rotation.from_euler("xyz", [0.2, -0.3, 0.1]).as_matrix().T
    translation, scale = weak_perspective(turned[:, :2] * 40.0 + [128.0, 120.0])
    assert np.allclose(translation, [128.0, 120.0])
    assert scale == pytest.approx(40.0)
    with pytest.raises(UserError, match="coincide"):
        weak_perspective(np.zeros((5, 2)))


def test_D04_the_crop_centres_the_face_at_its_standard_size():
    upright = STANDARD_POINTS[:, :2] * 50.99 + [100.0, 150.0]
    landmarks = upright * [1, -1] + [0, 255]
    crop = face_crop(landmarks, 256, 256)
    assert crop.size == (512, 512)
    assert (crop.left, crop.top) == (200 - CROP // 2, 212 - CROP // 2)
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[106, 100] = 255
    found = cut(picture, crop)
    assert found.shape == (CROP, CROP, 3)
    row, column = np.unravel_index(found[..., 0].argmax(), found.shape[:2])
    assert abs(row - 112) <= 2
    assert abs(column - 112) <= 2
    depth = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    assert set(np.unique(cut(depth, crop, "nearest"))) <= set(np.unique(depth)) | {0.0}
