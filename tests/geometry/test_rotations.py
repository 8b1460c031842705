"""Rotations against SciPy, and their gradients where formulas divide by zero."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from likeness.geometry.rotations import (
    axis_angle_to_matrix,
    cross_matrix,
    euler_to_matrix,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_quaternion,
    quaternion_to_matrix,
)

VECTORS = np.concatenate(
    [
        np.random.default_rng(0).uniform(-1.8, 1.8, (50, 3)),
        [[0, 0, 0], [1e-9, 0, 0], [1e-3, -2e-3, 5e-4], [math.pi, 0, 0], [0, math.pi - 1e-7, 0], [0, 0, -math.pi]],
        np.random.default_rng(1).uniform(-1, 1, (10, 3)) * 1e-3,
    ]
)


def test_axis_angle_equals_scipy():
    matrices = axis_angle_to_matrix(torch.from_numpy(VECTORS))
    np.testing.assert_allclose(matrices.numpy(), Rotation.from_rotvec(VECTORS).as_matrix(), atol=1e-12)
    back = axis_angle_to_matrix(matrix_to_axis_angle(matrices))
    torch.testing.assert_close(back, matrices, rtol=0, atol=1e-7)
    angles = matrix_to_axis_angle(matrices).norm(dim=-1)
    assert angles.max() <= math.pi + 1e-9
    inside = torch.from_numpy(np.linalg.norm(VECTORS, axis=1) < math.pi - 1e-3)
    torch.testing.assert_close(matrix_to_axis_angle(matrices)[inside], torch.from_numpy(VECTORS)[inside])


def test_quaternions_equal_scipy():
    matrices = torch.from_numpy(Rotation.from_rotvec(VECTORS).as_matrix())
    found = matrix_to_quaternion(matrices)
    expected = Rotation.from_rotvec(VECTORS).as_quat(canonical=True, scalar_first=True)
    same = np.minimum(np.abs(found.numpy() - expected).max(-1), np.abs(found.numpy() + expected).max(-1))
    assert same.max() < 1e-7
    torch.testing.assert_close(quaternion_to_matrix(3 * found), matrices, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", ["xyz", "XYZ", "zyx", "YXZ", "ZXY", "yzx", "XZY"])
def test_euler_equals_scipy(order):
    angles = np.random.default_rng(2).uniform(-1.4, 1.4, (40, 3)) * [2, 1, 2]
    matrices = euler_to_matrix(torch.from_numpy(angles), order)
    np.testing.assert_allclose(matrices.numpy(), Rotation.from_euler(order, angles).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(matrix_to_euler(matrices, order).numpy(), angles, atol=1e-9)


@pytest.mark.parametrize("order", ["xy", "xYz", "abc", "XXY"])
def test_unknown_orders_are_explained(order):
    with pytest.raises(ValueError, match="order"):
        matrix_to_euler(torch.eye(3), order)


def test_gradients_are_finite_at_the_identity():
    vector = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (axis_angle_to_matrix(vector) * torch.arange(9).view(3, 3)).sum().backward()
    torch.testing.assert_close(vector.grad, torch.tensor([2.0, -4.0, 2.0], dtype=torch.float64))
    matrix = torch.eye(3, dtype=torch.float64, requires_grad=True)
    matrix_to_axis_angle(matrix).sum().backward()
    assert matrix.grad.isfinite().all()
    vectors = torch.from_numpy(VECTORS[:10]).requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, vectors)
    assert torch.autograd.gradcheck(lambda v: matrix_to_axis_angle(axis_angle_to_matrix(v)), vectors)


def test_cross_matrix():
    a, b = torch.randn(2, 5, 3)
    torch.testing.assert_close((cross_matrix(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))
