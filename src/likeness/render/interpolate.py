"""Vertex attributes at every pixel of a raster."""

import torch
import warp as wp
from torch import Tensor

from likeness.kernels import as_array, lanes, launch
from likeness.render import shade_kernels
from likeness.render.rasterise import Raster, checked_triangles


def interpolate(attributes: Tensor, raster: Raster, triangles: Tensor) -> Tensor:
    """The barycentric mean of each pixel's three corners; gradients to `attributes` and to the raster's weights.

    Args:
        attributes: (V, C) for all pictures or (B, V, C): texture coordinates, normals, colours, depths.
        raster: from `rasterise`.
        triangles: (T, 3) indices into `attributes`, triangle for triangle those of the raster. Another list than the
            raster's where the attribute has its own corners (texture seams).

    Returns:
        (B, C, H, W) float32, 0 where no triangle is visible; channels last in memory.

    Raises:
        ValueError: shapes do not fit, or an index is out of range.
    """
    if attributes.ndim == 2:
        attributes = attributes.unsqueeze(0)
    if attributes.ndim != 3 or attributes.shape[0] not in (1, raster.triangle.shape[0]):
        raise ValueError(
            f"attributes have shape {tuple(attributes.shape)}, expected (V, C) or (B, V, C) with B "
            f"{raster.triangle.shape[0]}"
        )
    triangles = checked_triangles(triangles, attributes.shape[1], attributes.device)
    out = _Interpolate.apply(attributes.float(), raster.barycentric, raster.triangle, triangles)
    return out.movedim(-1, 1)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, attributes, barycentric, triangle, triangles):
        attributes = attributes.contiguous()
        barycentric = barycentric.contiguous()
        batch, height, width = triangle.shape
        out = attributes.new_empty((batch, height, width, attributes.shape[2]))
        columns = lanes(width, triangle.device)
        launch(
            shade_kernels.interpolate,
            (batch, height, columns),
            [
                as_array(triangle, wp.int32),
                as_array(barycentric, wp.vec3),
                as_array(attributes, wp.float32),
                as_array(triangles, wp.vec3i),
                columns,
                as_array(out, wp.float32),
            ],
            triangle.device,
        )
        ctx.save_for_backward(attributes, barycentric, triangle, triangles)
        return out

    @staticmethod
    def backward(ctx, grad_out):
        attributes, barycentric, triangle, triangles = ctx.saved_tensors
        batch, height, width = triangle.shape
        wanted = ctx.needs_input_grad[0]
        grad_attributes = torch.zeros_like(attributes) if wanted else attributes
        grad_barycentric = torch.empty_like(barycentric)
        columns = lanes(width, triangle.device)
        launch(
            shade_kernels.interpolate_backward,
            (batch, height, columns),
            [
                as_array(triangle, wp.int32),
                as_array(barycentric, wp.vec3),
                as_array(attributes, wp.float32),
                as_array(triangles, wp.vec3i),
                columns,
                as_array(grad_out.contiguous(), wp.float32),
                wanted,
                as_array(grad_attributes, wp.float32),
                as_array(grad_barycentric, wp.vec3),
            ],
            triangle.device,
        )
        return grad_attributes if wanted else None, grad_barycentric, None, None
