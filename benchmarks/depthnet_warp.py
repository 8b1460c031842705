"""One 252 x 252 face warped in memory, against one triangle after another in numpy."""

import numpy as np

from benchmarks import Row, best_time
from likeness.geometry.mean_face import mean_face
from likeness.methods.depthnet.turning import pixel_affine, turn_about
from likeness.render.face_triangles import FACE_TRIANGLES
from likeness.render.face_warp import warp_face

SIDE = 252


def main() -> list[Row]:
    """Measure both, without and with the depth buffer."""
    solid = mean_face().numpy()
    solid = solid / np.ptp(solid, axis=0).max() / 1.6 + (0.5, 0.5, 0.0)
    keypoints, depth = solid[:, :2] * SIDE, solid[:, 2]
    affine = pixel_affine(turn_about("y", 0.4, np.array([0.5, 0.5, 0.0])), SIDE, SIDE)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.stack([rows, columns, (rows + columns) // 2], axis=-1).astype(np.uint8)
    ours = best_time(lambda: warp_face(image, keypoints, depth, affine), repeats=50, warm_up=3)
    buffered = best_time(lambda: warp_face(image, keypoints, depth, affine, view_depth=depth), repeats=50, warm_up=3)
    plain = best_time(lambda: triangle_by_triangle(image, keypoints, depth, affine), repeats=3)
    by_hand = triangle_by_triangle(image, keypoints, depth, affine).astype(int)
    assert (np.abs(by_hand - warp_face(image, keypoints, depth, affine).image).max(-1) <= 1).mean() > 0.998
    baseline = "triangle by triangle, numpy"
    return [
        Row(f"warp of one {SIDE} x {SIDE} face, 107 triangles", ours, baseline, plain, "<= 2 ms"),
        Row("the same with a depth buffer", buffered, baseline, plain),
    ]


def triangle_by_triangle(image: np.ndarray, keypoints: np.ndarray, depth: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 by barycentric coordinates over each triangle's box, in float64."""
    screen = np.column_stack([keypoints, depth, np.ones(68)]) @ affine.T
    out = np.zeros_like(image)
    height, width = image.shape[:2]
    for triangle in FACE_TRIANGLES:
        a, b, c = screen[triangle]
        left, top = np.maximum(np.floor(screen[triangle].min(0)), 0).astype(int)
        right, bottom = np.minimum(np.ceil(screen[triangle].max(0)), (width, height)).astype(int)
        if right <= left or bottom <= top or abs(np.linalg.det([b - a, c - a])) < 1e-9:
            continue
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        s, t = np.linalg.solve(np.column_stack([b - a, c - a]), np.stack([x.ravel() - a[0], y.ravel() - a[1]]))
        weights = np.stack([1 - s - t, s, t])
        inside = (weights >= 0).all(0)
        u, v = keypoints[triangle].T @ weights[:, inside] - 0.5
        fu, fv = np.floor(u).astype(int), np.floor(v).astype(int)
        su, sv = (u - fu)[:, None], (v - fv)[:, None]
        upper = image[fv % height, fu % width] * (1 - su) + image[fv % height, (fu + 1) % width] * su
        lower = image[(fv + 1) % height, fu % width] * (1 - su) + image[(fv + 1) % height, (fu + 1) % width] * su
        rows, columns = y.ravel()[inside].astype(int), x.ravel()[inside].astype(int)
        out[rows, columns] = np.floor(upper * (1 - sv) + lower * sv + 0.5).astype(np.uint8)
    return out
