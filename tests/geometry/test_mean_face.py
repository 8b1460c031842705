import torch

from likeness.geometry.mean_face import mean_face


def test_the_mean_face_is_symmetric_and_of_human_size():
    points = mean_face()
    assert points.shape == (68, 3)
    assert points[27:31, 0].abs().max() < 1e-6
    torch.testing.assert_close(points[0:8] * torch.tensor([-1, 1, 1]), points[range(16, 8, -1)])
    assert 80 < (points[45] - points[36]).norm() < 100
    # The nose tip is nearer to the camera than the ears, the chin below the brows.
    assert points[30, 2] < points[0, 2]
    assert points[8, 1] > points[19, 1]
