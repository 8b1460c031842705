"""Piecewise-affine warp of a face: 107 textured triangles over 68 landmarks, moved by a 2x4 affine camera.

The geometry is that of FaceWarper (arXiv 1803.09202, section 3.3): vertex k has texture position (x_k, y_k), a landmark
in pixels of the source picture, and screen position M (x_k, y_k, depth_k, 1) in pixels of the same picture. Triangles
are painted in list order without culling; a depth buffer can be asked for instead.
"""

from dataclasses import dataclass

import numpy as np
import warp as wp

from likeness.render.face_triangles import FACE_TRIANGLES
from likeness.render.face_warp_kernels import cover, shade

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
        cover,
        dim=len(order),
        inputs=[corners, place(nearness, wp.float64), int(view_depth is not None)],
        outputs=[keys],
        device=device,
    )
    painted = wp.zeros((height, width, 3), dtype=wp.uint8, device=device)
    visible = wp.empty((height, width), dtype=wp.int32, device=device)
    wp.launch(
        shade,
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
