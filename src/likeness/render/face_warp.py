"""Piecewise-affine warp of a face: 107 textured triangles over 68 landmarks, moved by a 2x4 affine camera.

The geometry is that of FaceWarper (arXiv 1803.09202, section 3.3): vertex k has texture position (x_k, y_k), a landmark
in pixels of the source picture, and screen position M (x_k, y_k, depth_k, 1) in pixels of the same picture. Triangles are
painted in list order without culling; a depth buffer can be asked for instead.
"""

from dataclasses import dataclass

import numpy as np
import warp as wp

from likeness.render.face_triangles import FACE_TRIANGLES
from likeness.render.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)

SUBPIXELS = 256
"""Screen vertices lie on a lattice of 1/256 pixel, so that coverage is decided in exact integers."""

FARTHEST = 2**29
"""Vertices are held within this many subpixels of the origin: products of two differences still fit 64 bits."""

DEPTH_LEVELS = 2.0**40
"""Levels of the depth buffer between the nearest and the farthest vertex."""


@dataclass(frozen=True)
class FaceWarp:
    """What `warp_face` painted."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, black where nothing was painted."""
    triangle: np.ndarray
    """(H, W) int32: index of the visible triangle, -1 where nothing was painted."""

    @property
    def coverage(self) -> np.ndarray:
        """(H, W) bool: where a triangle was painted."""
        return self.triangle >= 0


def warp_face(
    image: np.ndarray,
    keypoints: np.ndarray,
    depth: np.ndarray,
    affine: np.ndarray,
    *,
    view_depth: np.ndarray | None = None,
    device: str = "cpu",
) -> FaceWarp:
    """Move the face of `image` as `affine` says.

    Args:
        image: (H, W, 3) uint8 RGB; also the size of the canvas.
        keypoints: (68, 2) landmarks x, y in pixels; an integer is the corner between pixels.
        depth: (68,) depth of each landmark, in the unit that `affine` expects.
        affine: (2, 4) maps (x, y, depth, 1) to screen x, y in pixels.
        view_depth: (68,) depth along the view after the turn, larger is farther; given, the nearest triangle is
            visible at each pixel instead of the one painted last.
        device: Warp device.

    Returns:
        The picture and the visible triangles. A pixel belongs to a triangle when its centre (c + 0.5, r + 0.5) lies
        inside, edges by the top-left rule; texture is looked up bilinearly about texel centres and repeats.

    Raises:
        ValueError: wrong shapes or types, or values that are not finite.
    """
    height, width = _check(image, keypoints, depth, affine, view_depth)
    points = np.stack([keypoints[:, 0], keypoints[:, 1], depth, np.ones(68)]).astype(np.float64)  # (4, 68)
    screen = np.rint((np.asarray(affine, np.float64) @ points).T * SUBPIXELS)  # (68, 2)
    vertices = np.clip(screen, -FARTHEST, FARTHEST).astype(np.int64)[FACE_TRIANGLES]  # (107, 3, 2)
    edge_a, edge_b = vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0]
    area = edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0]
    backwards = area < 0
    vertices[backwards] = vertices[backwards][:, [0, 2, 1]]
    order = FACE_TRIANGLES.copy()
    order[backwards] = order[backwards][:, [0, 2, 1]]
    texture = np.ascontiguousarray(points[:2].T[order])  # (107, 3, 2)
    nearness = np.zeros((len(order), 3))
    if view_depth is not None:
        spread = max(float(np.ptp(view_depth)), 1e-12)
        nearness = ((view_depth.max() - view_depth) / spread * DEPTH_LEVELS)[order]

    def place(array: np.ndarray, dtype: type) -> wp.array:
        return wp.array(np.ascontiguousarray(array), dtype=dtype, device=device, copy=False)

    corners = place(vertices, wp.int64)
    keys = wp.zeros((height, width), dtype=wp.int64, device=device)
    wp.launch(
        _cover,
        dim=len(order),
        inputs=[corners, place(nearness, wp.float64), int(view_depth is not None)],
        outputs=[keys],
        device=device,
    )
    painted = wp.zeros((height, width, 3), dtype=wp.uint8, device=device)
    visible = wp.empty((height, width), dtype=wp.int32, device=device)
    wp.launch(
        _shade,
        dim=(height, width),
        inputs=[corners, place(texture, wp.float64), place(image, wp.uint8), keys],
        outputs=[painted, visible],
        device=device,
    )
    return FaceWarp(painted.numpy(), visible.numpy())


def estimate_view_depth(keypoints: np.ndarray, depth: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(68,) depth along the view of an affine camera whose depth unit is unknown, larger is farther.

    A scaled orthographic camera has rows of equal length at right angles once depth is in pixels, k times the unit
    given; k is fitted to these two conditions by least squares. Where they do not determine it (a turn about the view
    axis only), the depth itself is returned.
    """
    (a1, a2, a3), (b1, b2, b3) = np.asarray(affine, np.float64)[:, :3]
    slopes = np.array([a3 * a3 - b3 * b3, a3 * b3])
    offsets = np.array([a1 * a1 + a2 * a2 - b1 * b1 - b2 * b2, a1 * b1 + a2 * b2])
    bottom = slopes @ slopes
    inverse_square = -(slopes @ offsets) / bottom if bottom > 1e-12 else 0.0
    if inverse_square <= 0:
        return np.asarray(depth, np.float64)
    axis = np.array([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, (a1 * b2 - a2 * b1) / inverse_square])
    return keypoints[:, 0] * axis[0] + keypoints[:, 1] * axis[1] + depth * axis[2]


def _check(image, keypoints, depth, affine, view_depth) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected a picture (H, W, 3) uint8, got {image.shape} {image.dtype}")
    named = {"keypoints": (keypoints, (68, 2)), "depth": (depth, (68,)), "affine": (affine, (2, 4))}
    if view_depth is not None:
        named["view_depth"] = (view_depth, (68,))
    for name, (array, shape) in named.items():
        if np.shape(array) != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {np.shape(array)}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: holds values that are not finite")
    return image.shape[:2]


@wp.func
def _edge(corners: wp.array3d(dtype=wp.int64), t: int, a: int, b: int, x: wp.int64, y: wp.int64) -> wp.int64:
    return (corners[t, b, 0] - corners[t, a, 0]) * (y - corners[t, a, 1]) - (corners[t, b, 1] - corners[t, a, 1]) * (
        x - corners[t, a, 0]
    )


@wp.func
def _bias(corners: wp.array3d(dtype=wp.int64), t: int, a: int, b: int) -> wp.int64:
    # A sample exactly on an edge belongs to the triangle whose top or left edge it is (y grows downwards).
    dx = corners[t, b, 0] - corners[t, a, 0]
    dy = corners[t, b, 1] - corners[t, a, 1]
    if dy < wp.int64(0) or (dy == wp.int64(0) and dx > wp.int64(0)):
        return wp.int64(0)
    return wp.int64(-1)


@wp.func
def _first_sample(lowest: wp.int64) -> int:
    # The first pixel whose centre, at 256 c + 128, is not below `lowest`.
    return int(wp.int64(lowest + wp.int64(127)) >> wp.int64(8))


@wp.kernel
def _cover(
    corners: wp.array3d(dtype=wp.int64),
    nearness: wp.array2d(dtype=wp.float64),
    by_depth: int,
    keys: wp.array2d(dtype=wp.int64),
):
    t = wp.tid()
    area = _edge(corners, t, 0, 1, corners[t, 2, 0], corners[t, 2, 1])
    if area == wp.int64(0):
        return
    left = _first_sample(wp.min(corners[t, 0, 0], wp.min(corners[t, 1, 0], corners[t, 2, 0])))
    right = _first_sample(wp.max(corners[t, 0, 0], wp.max(corners[t, 1, 0], corners[t, 2, 0])) + wp.int64(1))
    top = _first_sample(wp.min(corners[t, 0, 1], wp.min(corners[t, 1, 1], corners[t, 2, 1])))
    bottom = _first_sample(wp.max(corners[t, 0, 1], wp.max(corners[t, 1, 1], corners[t, 2, 1])) + wp.int64(1))
    left, top = wp.max(left, 0), wp.max(top, 0)
    right, bottom = wp.min(right, keys.shape[1]), wp.min(bottom, keys.shape[0])
    bias0, bias1, bias2 = _bias(corners, t, 1, 2), _bias(corners, t, 2, 0), _bias(corners, t, 0, 1)
    x = wp.int64(left) * wp.int64(256) + wp.int64(128)
    step0 = (corners[t, 1, 1] - corners[t, 2, 1]) * wp.int64(256)
    step1 = (corners[t, 2, 1] - corners[t, 0, 1]) * wp.int64(256)
    step2 = (corners[t, 0, 1] - corners[t, 1, 1]) * wp.int64(256)
    for row in range(top, bottom):
        y = wp.int64(row) * wp.int64(256) + wp.int64(128)
        w0 = _edge(corners, t, 1, 2, x, y)
        w1 = _edge(corners, t, 2, 0, x, y)
        w2 = _edge(corners, t, 0, 1, x, y)
        for column in range(left, right):
            if ((w0 + bias0) | (w1 + bias1) | (w2 + bias2)) >= wp.int64(0):
                key = wp.int64(t + 1)
                if by_depth != 0:
                    near = (
                        wp.float64(w0) * nearness[t, 0]
                        + wp.float64(w1) * nearness[t, 1]
                        + wp.float64(w2) * nearness[t, 2]
                    ) / wp.float64(area)
                    key = key + wp.int64(near) * wp.int64(256)
                wp.atomic_max(keys, row, column, key)
            w0 += step0
            w1 += step1
            w2 += step2


@wp.func
def _wrapped(index: int, size: int) -> int:
    rest = index % size
    if rest < 0:
        rest += size
    return rest


@wp.kernel
def _shade(
    corners: wp.array3d(dtype=wp.int64),
    texture: wp.array3d(dtype=wp.float64),
    image: wp.array3d(dtype=wp.uint8),
    keys: wp.array2d(dtype=wp.int64),
    painted: wp.array3d(dtype=wp.uint8),
    visible: wp.array2d(dtype=wp.int32),
):
    row, column = wp.tid()
    t = int(keys[row, column] & wp.int64(255)) - 1
    visible[row, column] = t
    if t < 0:
        return
    x = wp.int64(column) * wp.int64(256) + wp.int64(128)
    y = wp.int64(row) * wp.int64(256) + wp.int64(128)
    w0 = wp.float64(_edge(corners, t, 1, 2, x, y))
    w1 = wp.float64(_edge(corners, t, 2, 0, x, y))
    w2 = wp.float64(_edge(corners, t, 0, 1, x, y))
    total = w0 + w1 + w2
    u = (w0 * texture[t, 0, 0] + w1 * texture[t, 1, 0] + w2 * texture[t, 2, 0]) / total - wp.float64(0.5)
    v = (w0 * texture[t, 0, 1] + w1 * texture[t, 1, 1] + w2 * texture[t, 2, 1]) / total - wp.float64(0.5)
    fu, fv = wp.floor(u), wp.floor(v)
    su, sv = wp.float32(u - fu), wp.float32(v - fv)
    c0, r0 = _wrapped(int(fu), image.shape[1]), _wrapped(int(fv), image.shape[0])
    c1, r1 = _wrapped(c0 + 1, image.shape[1]), _wrapped(r0 + 1, image.shape[0])
    for channel in range(3):
        upper = wp.float32(image[r0, c0, channel]) * (1.0 - su) + wp.float32(image[r0, c1, channel]) * su
        lower = wp.float32(image[r1, c0, channel]) * (1.0 - su) + wp.float32(image[r1, c1, channel]) * su
        painted[row, column, channel] = wp.uint8(upper * (1.0 - sv) + lower * sv + 0.5)
