"""Which triangle each pixel sees, where in that triangle, and how deep: the rasteriser under every picture we draw.

Conventions. Vertices come as pixel x, pixel y and depth along the camera's axis (`Camera.project` gives both). Row 0 is
the top of the picture; the centre of the pixel in row i and column j lies at (j + 0.5, i + 0.5). A pixel belongs to a
triangle when its centre lies inside; a centre on a common edge belongs to exactly one of the two neighbours. Both sides
of a triangle are drawn. The smallest depth wins; between equal depths the lower index.

Along rows of the picture 1/depth of a flat triangle is linear and so are (weights / depth): this gives the
perspective-correct weights (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997). With
z_i the depths and e_i the signed areas opposite to the corners, as seen in the picture, weights are proportional to
e_i / z_i, for corners behind the camera too.
"""

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from likeness.render.kernels import KERNEL_OPTIONS, as_array, launch

wp.set_module_options(KERNEL_OPTIONS)

EMPTY = wp.constant(wp.int64(torch.iinfo(torch.int64).max))
# A GPU thread draws every n-th row of its triangle, so that a wall in the background does not hold up the others.
GPU_STRIPES = 16


@dataclass(frozen=True)
class Raster:
    """What each pixel of B pictures sees."""

    triangle: Tensor
    """(B, H, W) int32: index of the visible triangle, -1 where there is none."""
    barycentric: Tensor
    """(B, H, W, 3) float32: weights of the triangle's three corners, sum 1; 0 where empty. Differentiable."""
    depth: Tensor
    """(B, H, W) float32 in the unit of the vertices' depth; 0 where empty. No gradient: interpolate the vertices' depth
    where one is needed."""

    @property
    def mask(self) -> Tensor:
        """(B, 1, H, W) bool: where something is visible."""
        return (self.triangle >= 0).unsqueeze(1)


def rasterise(
    vertices: Tensor, triangles: Tensor, size: tuple[int, int], *, perspective: bool = True, near: float = 1e-3
) -> Raster:
    """Find the visible triangle, its barycentric weights and the depth at every pixel centre.

    Gradients flow from the weights to `vertices`: to x and y, and to the depth when `perspective` is on. Which triangle
    is visible has no gradient; `silhouette.antialias` supplies that of the outline.

    Args:
        vertices: (B, V, 3) pixel x, pixel y, depth. Depths are positive in front of the camera, in any unit. Triangles
            with a non-finite corner are left out.
        triangles: (T, 3) integers, the same for all B pictures. May be empty.
        size: (H, W) of the pictures.
        perspective: weights and depth are those of the surface. Without it they are linear in the picture (exact for
            orthographic cameras, and what Multiface's projection does), and a triangle with a corner nearer than `near`
            is left out.
        near: what lies nearer than this is cut off, in the unit of depth; more than 0.

    Returns:
        A Raster on the device of `vertices`.

    Raises:
        ValueError: a shape is wrong, or `triangles` names a vertex that is not there.
    """
    if vertices.ndim != 3 or vertices.shape[-1] != 3:
        raise ValueError(f"vertices have shape {tuple(vertices.shape)}, expected (B, V, 3): pixel x, pixel y, depth")
    if near <= 0:
        raise ValueError(f"near is {near}, expected more than 0")
    triangles = checked_triangles(triangles, vertices.shape[1], vertices.device)
    barycentric, triangle, depth = _Rasterise.apply(vertices.float(), triangles, size, perspective, near)
    return Raster(triangle, barycentric, depth)


def checked_triangles(triangles: Tensor, count: int, device: torch.device) -> Tensor:
    """`triangles` as contiguous (T, 3) int32 on `device`; ValueError unless each index lies in [0, count)."""
    if triangles.ndim != 2 or triangles.shape[-1] != 3:
        raise ValueError(f"triangles have shape {tuple(triangles.shape)}, expected (T, 3)")
    if triangles.numel():
        low, high = (int(x) for x in triangles.aminmax())
        if low < 0 or high >= count:
            raise ValueError(f"triangles name vertices {low} to {high}, expected 0 to {count - 1}")
    return triangles.to(device=device, dtype=torch.int32).contiguous()


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices, triangles, size, perspective, near):
        vertices = vertices.contiguous()
        batch, device = vertices.shape[0], vertices.device
        height, width = size
        triangle = torch.empty((batch, height, width), dtype=torch.int32, device=device)
        barycentric = torch.empty((batch, height, width, 3), device=device)
        depth = torch.empty((batch, height, width), device=device)
        nearest = torch.full((batch, height, width), torch.iinfo(torch.int64).max, device=device)
        stripes = 1 if device.type == "cpu" else GPU_STRIPES
        corners, places = as_array(triangles, wp.vec3i), as_array(vertices, wp.vec3)
        keys = as_array(nearest, wp.int64)
        launch(
            _find_nearest,
            (batch, len(triangles), stripes),
            [places, corners, perspective, near, stripes, keys],
            device,
        )
        launch(
            _resolve,
            (batch, height, width),
            [
                places,
                corners,
                perspective,
                keys,
                as_array(triangle, wp.int32),
                as_array(barycentric, wp.vec3),
                as_array(depth, wp.float32),
            ],
            device,
        )
        ctx.save_for_backward(vertices, triangles, triangle)
        ctx.perspective = perspective
        ctx.mark_non_differentiable(triangle, depth)
        return barycentric, triangle, depth

    @staticmethod
    def backward(ctx, grad_barycentric, *_):
        vertices, triangles, triangle = ctx.saved_tensors
        grad_vertices = torch.zeros_like(vertices)
        launch(
            _barycentric_backward,
            triangle.shape,
            [
                as_array(vertices, wp.vec3),
                as_array(triangles, wp.vec3i),
                ctx.perspective,
                as_array(triangle, wp.int32),
                as_array(grad_barycentric.contiguous(), wp.vec3),
                as_array(grad_vertices, wp.vec3),
            ],
            vertices.device,
        )
        return grad_vertices, None, None, None, None


@wp.func
def _cross(ax: float, ay: float, bx: float, by: float):
    return ax * by - ay * bx


@wp.func
def _sign(x: float):
    return wp.where(x < 0.0, -1.0, 1.0)


@wp.func
def _edge_bias(ax: float, ay: float, bx: float, by: float, side: float):
    # The top-left rule: a centre exactly on the edge a -> b counts as inside when this is negative.
    left = (by - ay) * side < 0.0
    top = by == ay and (bx - ax) * side > 0.0
    return wp.where(left or top, -1.0e-37, 0.0)


@wp.func
def _grow(box: wp.vec4, x: float, y: float):
    return wp.vec4(wp.min(box[0], x), wp.min(box[1], y), wp.max(box[2], x), wp.max(box[3], y))


@wp.func
def _grow_where_cut(box: wp.vec4, a: wp.vec3, b: wp.vec3, near: float):
    # An edge through the near plane ends, in the picture, where it meets that plane.
    out = box
    if (a[2] < near) != (b[2] < near):
        t = (near - a[2]) / (b[2] - a[2])
        s = 1.0 - t
        out = _grow(out, (s * a[0] * a[2] + t * b[0] * b[2]) / near, (s * a[1] * a[2] + t * b[1] * b[2]) / near)
    return out


@wp.kernel
def _find_nearest(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    perspective: bool,
    near: float,
    stripes: int,
    nearest: wp.array3d(dtype=wp.int64),
):
    b, t, stripe = wp.tid()
    corners = triangles[t]
    p0 = vertices[b, corners[0]]
    p1 = vertices[b, corners[1]]
    p2 = vertices[b, corners[2]]
    if not (wp.isfinite(p0) and wp.isfinite(p1) and wp.isfinite(p2)):
        return
    z_low = wp.min(p0[2], wp.min(p1[2], p2[2]))
    z_high = wp.max(p0[2], wp.max(p1[2], p2[2]))
    if z_high < near or (z_low < near and not perspective):
        return
    area = _cross(p1[0] - p0[0], p1[1] - p0[1], p2[0] - p0[0], p2[1] - p0[1])
    if area == 0.0 or p0[2] == 0.0 or p1[2] == 0.0 or p2[2] == 0.0:
        return

    box = wp.vec4(wp.inf, wp.inf, -wp.inf, -wp.inf)
    if p0[2] >= near:
        box = _grow(box, p0[0], p0[1])
    if p1[2] >= near:
        box = _grow(box, p1[0], p1[1])
    if p2[2] >= near:
        box = _grow(box, p2[0], p2[1])
    if z_low < near:
        box = _grow_where_cut(box, p0, p1, near)
        box = _grow_where_cut(box, p1, p2, near)
        box = _grow_where_cut(box, p2, p0, near)
    left = int(wp.max(wp.ceil(box[0] - 0.5), 0.0))
    top = int(wp.max(wp.ceil(box[1] - 0.5), 0.0))
    right = int(wp.min(wp.floor(box[2] - 0.5), float(nearest.shape[2] - 1)))
    bottom = int(wp.min(wp.floor(box[3] - 0.5), float(nearest.shape[1] - 1)))
    if right < left or bottom < top:
        return

    side = _sign(area)
    s0 = side * _sign(p0[2])
    s1 = side * _sign(p1[2])
    s2 = side * _sign(p2[2])
    bias0 = _edge_bias(p1[0], p1[1], p2[0], p2[1], s0)
    bias1 = _edge_bias(p2[0], p2[1], p0[0], p0[1], s1)
    bias2 = _edge_bias(p0[0], p0[1], p1[0], p1[1], s2)
    # What is linear in the picture: 1/depth under perspective, depth itself without.
    scale = 1.0 / wp.abs(area)
    q0 = wp.where(perspective, scale / wp.abs(p0[2]), scale * p0[2])
    q1 = wp.where(perspective, scale / wp.abs(p1[2]), scale * p1[2])
    q2 = wp.where(perspective, scale / wp.abs(p2[2]), scale * p2[2])
    furthest_inverse = wp.where(perspective, 1.0 / near, wp.inf)
    first = top + (stripe + stripes - top % stripes) % stripes
    for i in range(first, bottom + 1, stripes):
        y = float(i) + 0.5
        y0 = p0[1] - y
        y1 = p1[1] - y
        y2 = p2[1] - y
        for j in range(left, right + 1):
            x = float(j) + 0.5
            x0 = p0[0] - x
            x1 = p1[0] - x
            x2 = p2[0] - x
            e0 = s0 * _cross(x1, y1, x2, y2)
            e1 = s1 * _cross(x2, y2, x0, y0)
            e2 = s2 * _cross(x0, y0, x1, y1)
            if e0 > bias0 and e1 > bias1 and e2 > bias2:
                q = e0 * q0 + e1 * q1 + e2 * q2
                if q <= furthest_inverse:
                    # Positive floats order like the integers of the same bits.
                    bits = wp.int64(wp.cast(q, wp.int32))
                    if perspective:
                        bits = wp.int64(0x7F800000) - bits
                    wp.atomic_min(nearest, b, i, j, (bits << wp.int64(32)) | wp.int64(t))


@wp.func
def _scaled_weights(p0: wp.vec3, p1: wp.vec3, p2: wp.vec3, x: float, y: float, perspective: bool):
    e = wp.vec3(
        _cross(p1[0] - x, p1[1] - y, p2[0] - x, p2[1] - y),
        _cross(p2[0] - x, p2[1] - y, p0[0] - x, p0[1] - y),
        _cross(p0[0] - x, p0[1] - y, p1[0] - x, p1[1] - y),
    )
    if perspective:
        e = wp.vec3(e[0] / p0[2], e[1] / p1[2], e[2] / p2[2])
    return e


@wp.kernel
def _resolve(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    perspective: bool,
    nearest: wp.array3d(dtype=wp.int64),
    triangle: wp.array3d(dtype=wp.int32),
    barycentric: wp.array3d(dtype=wp.vec3),
    depth: wp.array3d(dtype=wp.float32),
):
    b, i, j = wp.tid()
    key = nearest[b, i, j]
    if key == EMPTY:
        triangle[b, i, j] = -1
        barycentric[b, i, j] = wp.vec3(0.0, 0.0, 0.0)
        depth[b, i, j] = 0.0
        return
    t = int(key & wp.int64(0x7FFFFFFF))
    corners = triangles[t]
    p0 = vertices[b, corners[0]]
    p1 = vertices[b, corners[1]]
    p2 = vertices[b, corners[2]]
    c = _scaled_weights(p0, p1, p2, float(j) + 0.5, float(i) + 0.5, perspective)
    weights = c / (c[0] + c[1] + c[2])
    weights = wp.max(weights, wp.vec3(0.0, 0.0, 0.0))
    weights = weights / (weights[0] + weights[1] + weights[2])
    triangle[b, i, j] = t
    barycentric[b, i, j] = weights
    depth[b, i, j] = weights[0] * p0[2] + weights[1] * p1[2] + weights[2] * p2[2]


@wp.kernel
def _barycentric_backward(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    perspective: bool,
    triangle: wp.array3d(dtype=wp.int32),
    grad_barycentric: wp.array3d(dtype=wp.vec3),
    grad_vertices: wp.array2d(dtype=wp.vec3),
):
    b, i, j = wp.tid()
    t = triangle[b, i, j]
    if t < 0:
        return
    g = grad_barycentric[b, i, j]
    corners = triangles[t]
    p0 = vertices[b, corners[0]]
    p1 = vertices[b, corners[1]]
    p2 = vertices[b, corners[2]]
    x = float(j) + 0.5
    y = float(i) + 0.5
    c = _scaled_weights(p0, p1, p2, x, y, perspective)
    total = c[0] + c[1] + c[2]
    # weights = c / total
    mean = wp.dot(g, c) / total
    gc = wp.vec3(g[0] - mean, g[1] - mean, g[2] - mean) / total
    gz = wp.vec3(0.0, 0.0, 0.0)
    if perspective:
        gc = wp.vec3(gc[0] / p0[2], gc[1] / p1[2], gc[2] / p2[2])
        gz = wp.vec3(-gc[0] * c[0], -gc[1] * c[1], -gc[2] * c[2])
    x0 = p0[0] - x
    x1 = p1[0] - x
    x2 = p2[0] - x
    y0 = p0[1] - y
    y1 = p1[1] - y
    y2 = p2[1] - y
    wp.atomic_add(grad_vertices, b, corners[0], wp.vec3(gc[2] * y1 - gc[1] * y2, gc[1] * x2 - gc[2] * x1, gz[0]))
    wp.atomic_add(grad_vertices, b, corners[1], wp.vec3(gc[0] * y2 - gc[2] * y0, gc[2] * x0 - gc[0] * x2, gz[1]))
    wp.atomic_add(grad_vertices, b, corners[2], wp.vec3(gc[1] * y0 - gc[0] * y1, gc[0] * x1 - gc[1] * x0, gz[2]))
