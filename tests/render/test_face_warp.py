"""The face warp: exact coverage, texture, wrap, depth buffer, refusals; against a float64 rasteriser in numpy."""

import numpy as np
import pytest

from likeness.render.face_triangles import FACE_TRIANGLES
from likeness.render.face_warp import estimate_view_depth, warp_face

IDENTITY = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])


def rasterise_float64(image, keypoints, depth, affine):
    """Paint the triangles one by one in float64: barycentric coverage, bilinear look-up about texel centres, repeat."""
    height, width = image.shape[:2]
    points = np.column_stack([keypoints, depth, np.ones(68)]).astype(np.float64)
    screen = points @ np.asarray(affine, np.float64).T
    out, index = np.zeros(image.shape), np.full((height, width), -1)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for number, triangle in enumerate(FACE_TRIANGLES):
        a, b, c = screen[triangle]
        matrix = np.column_stack([b - a, c - a])
        if abs(np.linalg.det(matrix)) < 1e-12:
            continue
        s, t = np.linalg.inv(matrix) @ np.stack([columns.ravel() - a[0], rows.ravel() - a[1]])
        weights = np.stack([1 - s - t, s, t])  # (3, H W)
        inside = (weights >= 0).all(0).reshape(height, width)
        u, v = (keypoints[triangle].T @ weights).reshape(2, height, width) - 0.5
        fu, fv = np.floor(u).astype(int), np.floor(v).astype(int)
        su, sv = (u - fu)[..., None], (v - fv)[..., None]
        look = lambda r, c: image[r % height, c % width].astype(np.float64)  # noqa: E731
        colour = (look(fv, fu) * (1 - su) + look(fv, fu + 1) * su) * (1 - sv)
        colour += (look(fv + 1, fu) * (1 - su) + look(fv + 1, fu + 1) * su) * sv
        out[inside], index[inside] = np.floor(colour + 0.5)[inside], number
    return out.astype(np.uint8), index


def face(rng, size=(60, 80)):
    """A random texture and 68 scattered landmarks with depths."""
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    keypoints = rng.uniform(4, [size[1] - 4, size[0] - 4], (68, 2))
    return image, keypoints, rng.uniform(-5, 5, 68)


@pytest.mark.parametrize("seed", range(3))
def test_row_23_equals_a_float64_rasteriser(seed):
    rng = np.random.default_rng(seed)
    image, keypoints, depth = face(rng)
    affine = np.array([[0.9, 0.1, 0.4, 3.0], [-0.1, 1.1, -0.3, -2.0]]) + rng.normal(0, 0.05, (2, 4))
    ours = warp_face(image, keypoints, depth, affine)
    expected, index = rasterise_float64(image, keypoints, depth, affine)
    same = ours.triangle == index
    assert (~same).sum() <= 0.002 * ours.coverage.sum()  # vertices snap to 1/256 pixel
    # Random texture and slivers turn the snap of 1/512 pixel into a few grey levels; real pictures stay within one.
    difference = np.abs(ours.image.astype(int) - expected).max(-1)[same]
    assert (difference <= 1).mean() > 0.99


def test_row_23_shared_edges_are_painted_once():
    """With vertices on pixel centres every sample inside the hull belongs to exactly one triangle of a flat fan."""
    rng = np.random.default_rng(0)
    image, keypoints, depth = face(rng)
    keypoints = np.floor(keypoints) + 0.5
    coverage = warp_face(image, keypoints, depth, IDENTITY).coverage
    shifted = warp_face(image, keypoints, depth, IDENTITY + np.array([[0, 0, 0, 1.0], [0, 0, 0, 0]])).coverage
    np.testing.assert_array_equal(coverage[:, :-1], shifted[:, 1:])


def test_row_23_later_triangles_cover_earlier_ones_and_the_depth_buffer_the_farther():
    rng = np.random.default_rng(1)
    image, keypoints, depth = face(rng)
    painted = warp_face(image, keypoints, depth, IDENTITY)
    nearest = warp_face(image, keypoints, depth, IDENTITY, view_depth=depth)
    np.testing.assert_array_equal(painted.coverage, nearest.coverage)
    assert (painted.triangle != nearest.triangle).any()
    rows, columns = np.nonzero(nearest.coverage)
    for row, column in list(zip(rows, columns))[::97]:
        depths = []
        for triangle in FACE_TRIANGLES:
            system = np.vstack([keypoints[triangle].T, np.ones(3)])
            weights = np.linalg.solve(system, [column + 0.5, row + 0.5, 1.0])
            if (weights > 1e-3).all():
                depths.append(float(weights @ depth[triangle]))
        shown = FACE_TRIANGLES[nearest.triangle[row, column]]
        weights = np.linalg.solve(np.vstack([keypoints[shown].T, np.ones(3)]), [column + 0.5, row + 0.5, 1.0])
        assert weights @ depth[shown] <= min(depths, default=np.inf) + 0.1


def test_view_depth_of_a_turned_face_is_its_rotated_depth_up_to_scale():
    rng = np.random.default_rng(2)
    _, keypoints, depth = face(rng)
    unit, angle = 7.0, 0.6  # pixels a unit of depth
    c, s = np.cos(angle), np.sin(angle)
    affine = np.array([[c, 0, s * unit, 4.0], [0, 1, 0, -3.0]])
    found = estimate_view_depth(keypoints, depth, affine)
    truth = -s * keypoints[:, 0] + c * depth * unit
    assert np.corrcoef(found, truth)[0, 1] > 1 - 1e-9
    np.testing.assert_array_equal(estimate_view_depth(keypoints, depth, IDENTITY), depth)


def test_far_away_vertices_and_flat_triangles_paint_nothing_wrong():
    rng = np.random.default_rng(3)
    image, keypoints, depth = face(rng)
    assert not warp_face(image, keypoints, depth, IDENTITY * 0).coverage.any()
    assert not warp_face(image, keypoints, depth, IDENTITY + [[0, 0, 0, 1e12], [0, 0, 0, 0]]).coverage.any()


def test_wrong_shapes_and_values_are_refused():
    rng = np.random.default_rng(4)
    image, keypoints, depth = face(rng)
    with pytest.raises(ValueError, match="keypoints"):
        warp_face(image, keypoints[:66], depth, IDENTITY)
    with pytest.raises(ValueError, match="not finite"):
        warp_face(image, keypoints, depth * np.nan, IDENTITY)
    with pytest.raises(ValueError, match="uint8"):
        warp_face(image.astype(np.float32), keypoints, depth, IDENTITY)
