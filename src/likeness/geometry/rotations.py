"""Rotations as axis-angle vectors, quaternions, Euler angles and matrices.

Matrices turn column vectors: x' = R x; positive angles are right-handed (counter-clockwise as seen from the axis' tip).
Angles are in radians. All functions take any leading dimensions and have finite gradients, at the identity too.
"""

import torch
from torch import Tensor


def axis_angle_to_matrix(vector: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) by |vector| about `vector` (..., 3): Rodrigues' formula, I + a K + b K K."""
    square = (vector * vector).sum(dim=-1)[..., None, None]
    small = square < 1e-6
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    a = torch.where(small, 1 - square / 6 + square * square / 120, angle.sin() / angle)
    b = torch.where(small, 0.5 - square / 24 + square * square / 720, (1 - angle.cos()) / safe)
    k = cross_matrix(vector)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + a * k + b * (k @ k)


def cross_matrix(vector: Tensor) -> Tensor:
    """The matrices K (..., 3, 3) with K y = vector x y, for `vector` (..., 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, dim=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.stack(rows, dim=-2)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions (..., 4), order w x y z and w >= 0, of rotation matrices (..., 3, 3).

    Of the four ways to the answer the one with the largest divisor is taken (Shepperd, 1978), which is accurate for
    every angle.
    """
    m = matrix
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Row k is 4 q_k q.
    candidates = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, x, y, z], dim=-1),
            torch.stack([x, 1 + m00 - m11 - m22, xy, xz], dim=-1),
            torch.stack([y, xy, 1 - m00 + m11 - m22, yz], dim=-1),
            torch.stack([z, xz, yz, 1 - m00 - m11 + m22], dim=-1),
        ],
        dim=-2,
    )
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = candidates.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    quaternion = torch.nn.functional.normalize(row, dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), order w x y z, of any length but 0."""
    w, v = torch.nn.functional.normalize(quaternion, dim=-1).split([1, 3], dim=-1)
    k = cross_matrix(v)
    return torch.eye(3, dtype=v.dtype, device=v.device) + 2 * (w.unsqueeze(-1) * k + k @ k)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis times angle (..., 3), angle in [0, pi], of rotation matrices (..., 3, 3)."""
    w, v = matrix_to_quaternion(matrix).split([1, 3], dim=-1)
    square = (v * v).sum(dim=-1, keepdim=True)
    small = square < 1e-8
    length = torch.where(small, torch.ones_like(square), square).sqrt()
    scale = torch.where(small, 2 / w.clamp(min=0.5), 2 * torch.atan2(length, w) / length)
    return scale * v


def euler_to_matrix(angles: Tensor, order: str) -> Tensor:
    """Rotation matrices (..., 3, 3) of three angles (..., 3), given in the order of the letters.

    Args:
        angles: (..., 3) radians, `angles[..., k]` about the axis `order[k]`.
        order: as in SciPy. Capitals ("XYZ"): about the axes of the turned frame, R = R_X R_Y R_Z. Small letters
            ("xyz"): about the fixed axes, R = R_z R_y R_x.

    Raises:
        ValueError: `order` is not three of "xyz" or of "XYZ".
    """
    axes = _axes(order)
    basis = torch.eye(3, dtype=angles.dtype, device=angles.device)
    first, second, third = (axis_angle_to_matrix(angles[..., k, None] * basis[axes[k]]) for k in range(3))
    return first @ second @ third if order.isupper() else third @ second @ first


def matrix_to_euler(matrix: Tensor, order: str) -> Tensor:
    """The three angles (..., 3) of rotation matrices (..., 3, 3): the inverse of `euler_to_matrix`.

    The middle angle lies in [-pi/2, pi/2], the others in [-pi, pi]. Near a middle angle of +-pi/2 only the sum or
    difference of the others is determined, and gradients grow without bound there.

    Raises:
        ValueError: `order` is not a permutation of "xyz" or of "XYZ".
    """
    axes = _axes(order)
    if len(set(axes)) != 3:
        raise ValueError(f"order {order!r} repeats an axis; angles can be read back for three different axes")
    if order.islower():
        return matrix_to_euler(matrix, order[::-1].upper()).flip(-1)
    i, j, k = axes
    sign = 1.0 if (i, j, k) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1.0
    middle = torch.asin((sign * matrix[..., i, k]).clamp(-1, 1))
    first = torch.atan2(-sign * matrix[..., j, k], matrix[..., k, k])
    third = torch.atan2(-sign * matrix[..., i, j], matrix[..., i, i])
    return torch.stack([first, middle, third], dim=-1)


def _axes(order: str) -> tuple[int, int, int]:
    if len(order) != 3 or not (set(order) <= set("xyz") or set(order) <= set("XYZ")):
        raise ValueError(f"order is {order!r}, expected three of 'xyz' (fixed axes) or of 'XYZ' (turned axes)")
    first, second, third = ("xyz".index(letter) for letter in order.lower())
    return first, second, third
