import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from likeness.geometry.mean_face import mean_face
from likeness.perception.faces import find_face
from likeness.perception.head_pose import angles, head_pose


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, 15), (-40, 10, -20)])
def test_a_projected_mean_face_gives_its_pose_back(yaw, pitch, roll):
    rotation = Rotation.from_euler("ZXY", [roll, -pitch, yaw], degrees=True).as_matrix()
    points = mean_face().numpy() @ rotation.T + [20.0, -10.0, 700.0]
    size, focal = (480, 640), 1.2 * 640
    pixels = focal * points[:, :2] / points[:, 2:] + [320, 240]
    pose = head_pose(pixels, size)
    np.testing.assert_allclose([pose.yaw, pose.pitch, pose.roll], [yaw, pitch, roll], atol=1e-3)
    np.testing.assert_allclose(pose.translation, [20, -10, 700], rtol=1e-4)
    assert pose.error < 1e-3


def test_signs_are_those_of_the_picture():
    # A nose that points to the picture's left, up, and a head that leans to the picture's right.
    nose = np.array([0, 0, -1.0])
    for name, axis in (("yaw", 0), ("pitch", 1)):
        euler = {"yaw": ("Y", 20), "pitch": ("X", -20)}[name]
        rotation = Rotation.from_euler(*euler, degrees=True).as_matrix()
        assert (rotation @ nose)[axis] < 0
        assert angles(rotation)[axis] == pytest.approx(20)
    rotation = Rotation.from_euler("Z", 20, degrees=True).as_matrix()
    assert (rotation @ [0, -1, 0])[0] > 0
    assert angles(rotation)[2] == pytest.approx(20)


def test_a_portrait_and_its_mirror_image_agree(tracker, astronaut):
    straight = head_pose(find_face(astronaut, tracker=tracker).landmarks, (512, 512))
    mirrored = head_pose(find_face(astronaut[:, ::-1].copy(), tracker=tracker).landmarks, (512, 512))
    assert abs(straight.yaw + mirrored.yaw) < 3
    assert abs(straight.pitch - mirrored.pitch) < 3
    assert abs(straight.roll + mirrored.roll) < 3


def test_other_counts_are_refused():
    with pytest.raises(ValueError, match="68"):
        head_pose(np.zeros((66, 2)), (10, 10))
