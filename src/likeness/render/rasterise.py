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

from likeness.kernels import as_array, lanes, launch
from likeness.render import raster_kernels

RUN, GROWTH = 16_384, 0.4
"""Triangles of the first run, and by which share of what is drawn later runs grow: few enough runs for any scene."""


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


def find_nearest(places, corners, batch: int, count: int, perspective: bool, near: float, nearest: Tensor) -> None:
    """Lower the keys `nearest` (B, H, W) int64, depth above and index below, to those of the visible triangles.

    Triangles are drawn in runs; from the second run on those behind everything drawn so far are skipped. Nothing that
    could be seen is, so that the result does not depend on the runs, but scenes of many layers gain when the triangles
    come front to back. `places` and `corners` are kernel arguments as `as_array` makes them, of `count` triangles.
    """
    height, width = nearest.shape[1:]
    device = nearest.device
    # On a GPU several threads share a triangle's rows, so that a wall does not hold up the others.
    stripes = lanes(16, device)
    tile = raster_kernels.TILE
    squares = (batch, -(-height // tile), -(-width // tile)) if count > RUN else (0, 0, 0)
    farthest = torch.empty(squares, dtype=torch.int32, device=device)
    begin, end = 0, min(RUN, count)
    while begin < count:
        if begin:
            arguments = [as_array(nearest, wp.int64), as_array(farthest, wp.int32)]
            launch(raster_kernels.find_farthest, squares, arguments, device)
        arguments = [places, corners, begin, perspective, near, stripes, height, width, begin > 0]
        arguments += [as_array(farthest, wp.int32), as_array(nearest.view(-1), wp.int64)]
        launch(raster_kernels.find_nearest, (batch, end - begin, stripes), arguments, device)
        begin, end = end, min(count, end + max(RUN, int(end * GROWTH)))


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices, triangles, size, perspective, near):
        vertices = vertices.contiguous()
        batch, device = vertices.shape[0], vertices.device
        height, width = size
        triangle = torch.empty((batch, height, width), dtype=torch.int32, device=device)
        barycentric = torch.empty((batch, height, width, 3), device=device)
        depth = torch.empty((batch, height, width), device=device)
        # Depth in the upper half, index in the lower: the smallest key is the visible triangle.
        nearest = torch.full((batch, height, width), torch.iinfo(torch.int64).max, device=device)
        places, corners = as_array(vertices, wp.vec3), as_array(triangles, wp.vec3i)
        find_nearest(places, corners, batch, len(triangles), perspective, near, nearest)
        columns = lanes(width, device)
        launch(
            raster_kernels.resolve,
            (batch, height, columns),
            [
                places,
                corners,
                perspective,
                columns,
                as_array(nearest, wp.int64),
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
        batch, height, width = triangle.shape
        columns = lanes(width, vertices.device)
        launch(
            raster_kernels.barycentric_backward,
            (batch, height, columns),
            [
                as_array(vertices, wp.vec3),
                as_array(triangles, wp.vec3i),
                ctx.perspective,
                columns,
                as_array(triangle, wp.int32),
                as_array(grad_barycentric.contiguous(), wp.vec3),
                as_array(grad_vertices, wp.vec3),
            ],
            vertices.device,
        )
        return grad_vertices, None, None, None, None
