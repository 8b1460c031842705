"""Smooth outlines with gradients to the vertices: what tells an optimiser where a surface ends."""

import torch
import warp as wp
from torch import Tensor

from likeness.kernels import as_array, lanes, launch
from likeness.render import shade_kernels
from likeness.render.rasterise import Raster, checked_triangles


def antialias(
    image: Tensor, raster: Raster, vertices: Tensor, triangles: Tensor, adjacent: Tensor | None = None
) -> Tensor:
    """Blend pixels across the outlines of surfaces in proportion to the area each side covers.

    Between two neighbouring pixels with different triangles, the nearer triangle's outline cuts the way from centre to
    centre at a share s. Beyond the middle, s - 1/2 of the nearer pixel's colour goes to the farther pixel; before it,
    1/2 - s of the farther one's to the nearer. So every blended value is a smooth function of the outline's vertices
    (the idea of Laine et al., "Modular Primitives for High-Performance Differentiable Rendering", 2020, section 3.6).
    Applied to `raster.mask.float()` it gives an antialiased silhouette.

    An edge is an outline where no second triangle adjoins it or where that one folds back in the picture. The search
    walks from the pixel's triangle over the surface, so that triangles may be much smaller than a pixel; corners should
    be shared by neighbours (weld seams of texture coordinates first). Steep edges blend along rows, flat ones along
    columns.

    Args:
        image: (B, C, H, W) a picture of `raster`.
        raster: from `rasterise`.
        vertices: (B, V, 3), as given to `rasterise`. Gradients flow to x and y.
        triangles: (T, 3), as given to `rasterise`.
        adjacent: (T, 3) of `adjacent_triangles(triangles)`, to save its time where the mesh stays the same.

    Returns:
        (B, C, H, W) float32, channels last in memory.

    Raises:
        ValueError: shapes do not fit.
    """
    if image.ndim != 4 or (image.shape[0], *image.shape[2:]) != tuple(raster.triangle.shape):
        raise ValueError(
            f"image has shape {tuple(image.shape)}, expected (B, C, H, W) with the raster's B, H, W "
            f"{tuple(raster.triangle.shape)}"
        )
    triangles = checked_triangles(triangles, vertices.shape[1], vertices.device)
    if adjacent is None:
        adjacent = adjacent_triangles(triangles)
    out = _Antialias.apply(
        image.float().movedim(1, -1), vertices.float(), triangles, adjacent, raster.triangle, raster.depth
    )
    return out.movedim(-1, 1)


def adjacent_triangles(triangles: Tensor) -> Tensor:
    """The triangle beyond each edge: (T, 3) int32, for corner k the one across the edge facing it, -1 for none.

    Edges of more than two triangles count as having none beyond.
    """
    count = len(triangles)
    starts = triangles[:, [1, 2, 0]].reshape(-1).long()
    ends = triangles[:, [2, 0, 1]].reshape(-1).long()
    span = int(triangles.max()) + 1 if count else 1
    keys = torch.minimum(starts, ends) * span + torch.maximum(starts, ends)
    _, edge, uses = torch.unique(keys, return_inverse=True, return_counts=True)
    order = edge.argsort(stable=True)
    one, other = order[uses[edge[order]] == 2].view(-1, 2).unbind(1)
    adjacent = torch.full((3 * count,), -1, dtype=torch.int32, device=triangles.device)
    adjacent[one], adjacent[other] = (other // 3).int(), (one // 3).int()
    return adjacent.view(count, 3)


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, vertices, triangles, adjacent, triangle, depth):
        saved = (image.contiguous(), vertices.contiguous(), triangles, adjacent.int().contiguous(), triangle, depth)
        out = saved[0].clone()
        batch, height, width = triangle.shape
        columns = lanes(width, vertices.device)
        launch(
            shade_kernels.antialias,
            (batch, height, columns),
            [*_arrays(*saved), columns, as_array(out, wp.float32)],
            vertices.device,
        )
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    def backward(ctx, grad_out):
        saved = ctx.saved_tensors
        grad_out = grad_out.contiguous()
        grad_image = grad_out.clone()
        grad_vertices = torch.zeros_like(saved[1])
        batch, height, width = saved[4].shape
        columns = lanes(width, grad_out.device)
        outputs = [as_array(grad_out, wp.float32), as_array(grad_image, wp.float32), as_array(grad_vertices, wp.vec3)]
        launch(
            shade_kernels.antialias_backward,
            (batch, height, columns),
            [*_arrays(*saved), columns, *outputs],
            grad_out.device,
        )
        return grad_image, grad_vertices, None, None, None, None


def _arrays(image: Tensor, vertices: Tensor, triangles: Tensor, adjacent: Tensor, triangle: Tensor, depth: Tensor):
    return [
        as_array(image, wp.float32),
        as_array(vertices, wp.vec3),
        as_array(triangles, wp.vec3i),
        as_array(adjacent, wp.int32),
        as_array(triangle, wp.int32),
        as_array(depth, wp.float32),
    ]
