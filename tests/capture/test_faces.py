import numpy as np

from likeness.capture.faces import mean_face_points, synthetic_faces
from likeness.capture.landmarks import MIRROR_68
from likeness.geometry.mean_face import mean_face


def test_a_face_depends_on_seed_and_number_alone():
    whole, part = synthetic_faces(8, seed=3), synthetic_faces(3, seed=3, start=5)
    np.testing.assert_array_equal(whole.landmarks[5:], part.landmarks)
    assert np.abs(whole.landmarks - synthetic_faces(8, seed=4).landmarks).max() > 1


def test_crops_are_squares_of_about_1_6_boxes():
    faces = synthetic_faces(300, seed=0)
    sides = np.ptp(faces.landmarks[..., :2], axis=1).max(-1)
    assert (faces.sizes == 256).all()
    assert 1.6 * 0.9 <= (256 / sides).min()
    assert (256 / sides).max() <= 1.6 * 1.1
    assert faces.landmarks[..., :2].min() > 0
    assert faces.landmarks[..., :2].max() < 256


def test_depth_grows_away_from_the_camera_and_keeps_the_range_of_3dfaw():
    faces = synthetic_faces(500, seed=1, crop=False)
    _, depth = faces.normalised()
    front = faces.orientations == "center"
    assert (depth[front][:, 30] < depth[front][:, 0]).all()
    assert np.percentile(np.abs(depth), 95) < 0.2
    assert set(faces.orientations) == {"left", "center", "right"}


def test_the_orientation_names_the_side_that_the_nose_points_to():
    faces = synthetic_faces(300, seed=2)
    nose = faces.landmarks[:, 30, 0] - faces.landmarks[:, [36, 45], 0].mean(1)
    assert (nose[faces.orientations == "right"] > 0).mean() > 0.97
    assert (nose[faces.orientations == "left"] < 0).mean() > 0.97


def test_normalisation_divides_by_the_pictures_own_sides():
    faces = synthetic_faces(5, seed=0, crop=False)
    plane, depth = faces.normalised()
    height, width = faces.sizes[2]
    np.testing.assert_allclose(plane[2] * [width, height], faces.landmarks[2, :, :2], rtol=1e-5)
    np.testing.assert_allclose(depth[2] * (height + width) / 2, faces.landmarks[2, :, 2], rtol=1e-4, atol=1e-4)


def test_the_shipped_mean_face_is_the_stages_own():
    points = mean_face_points() * 100 * [1, -1, -1]
    assert np.array_equal(MIRROR_68[MIRROR_68], np.arange(68))
    np.testing.assert_allclose(mean_face().numpy(), points - points.mean(0), atol=2e-3)
