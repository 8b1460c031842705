import numpy as np
import pytest

from likeness.geometry import face_landmarks as marks
from likeness.geometry.mean_face import mean_face


def test_groups_cover_every_point_once():
    groups = [marks.JAW, marks.LEFT_BROW, marks.RIGHT_BROW, marks.NOSE_RIDGE, marks.NOSE_BASE]
    groups += [marks.LEFT_EYE, marks.RIGHT_EYE, marks.OUTER_LIPS, marks.INNER_LIPS]
    assert [index for group in groups for index in group] == list(range(68))


def test_66_and_back_as_the_rule_says():
    points = np.random.default_rng(0).normal(size=(2, 68, 3)).astype(np.float32)
    short = marks.to_66(points)
    assert short.shape == (2, 66, 3)
    back = marks.to_68(short)
    assert back.dtype == np.float32
    kept = [i for i in range(68) if i not in (60, 64)]
    np.testing.assert_array_equal(back[:, kept], points[:, kept])
    np.testing.assert_allclose(back[:, 60], (short[:, 59] + short[:, 49]) / 2, rtol=1e-6)
    np.testing.assert_allclose(back[:, 64], (short[:, 53] + short[:, 55]) / 2, rtol=1e-6)


def test_mirror_is_an_involution_that_the_symmetric_face_confirms():
    face = mean_face().numpy()
    np.testing.assert_allclose(marks.mirror(face, 0.0), face, atol=1e-6)
    points = np.random.default_rng(0).normal(size=(68, 2))
    np.testing.assert_allclose(marks.mirror(marks.mirror(points, 100), 100), points)


def test_five_points_and_eye_distance():
    face = mean_face().numpy()[:, :2]
    five = marks.five_points(face)
    assert five[0, 0] < five[2, 0] < five[1, 0]
    assert five[0, 1] < five[2, 1] < five[3, 1]
    assert marks.eye_distance(face) == pytest.approx(np.linalg.norm(face[36] - face[45]))
