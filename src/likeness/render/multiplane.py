"""Rendering multiplane images: every ray crosses the planes near to far, looks up a texture and composites.

One Warp kernel per direction, for CPU and CUDA. Nothing per plane is stored on the way forward; on the way back the
transmittance is, once. Gradients reach the textures only: the geometry is constant.
Source: Zhao et al., "Generative Multiplane Images", ECCV 2022, section 3.1 (compositing, eqs. 1 to 3).
"""

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from likeness.errors import UserError
from likeness.geometry.camera import Camera
from likeness.render.kernels import KERNEL_OPTIONS, as_array, launch

wp.set_module_options(KERNEL_OPTIONS)

LEAK = 1e-10
"""Added to 1 - alpha, so that transmittance never becomes exactly zero."""
INSET = 0.95
"""Scale of texture coordinates inside the plane when the border texels' centres are not the planes' corners."""


@dataclass(frozen=True)
class Rendering:
    """What a set of views shows."""

    image: Tensor
    """(V, 3, H, W), in the range of the textures, over black."""
    depth: Tensor
    """(V, 1, H, W) sum of weights times depth along the optical axis; not divided by opacity."""
    opacity: Tensor
    """(V, 1, H, W) sum of weights."""


class OutsideBackPlane(UserError):
    """A camera from which some ray misses the last plane."""


@wp.func
def texel(x: float, extent: float, count: int, inset: float):
    """Texture index of the plane coordinate x; `inset` is 0 where corner texels' centres are the plane's corners."""
    u = x * 2.0 / extent
    if inset == 0.0:
        return (u + 1.0) * 0.5 * float(count - 1)
    if wp.abs(u) <= 1.0:
        u = u * inset
    return ((u + 1.0) * float(count) - 1.0) * 0.5


@wp.kernel
def composite(
    colours: wp.array1d(dtype=wp.vec3),  # (N * K * R * S,)
    alphas: wp.array1d(dtype=float),  # (N * P * R * S,)
    rows: int,  # R
    columns: int,  # S
    planes: wp.array2d(dtype=float),  # (P, 3) depth, height, width
    texture_of_plane: wp.array1d(dtype=int),  # (P,)
    textures: int,  # K
    source: wp.array1d(dtype=int),  # (V,) which of the N
    eyes: wp.array1d(dtype=wp.vec3),
    rays: wp.array1d(dtype=wp.mat33),  # pixel to world direction with unit depth
    inset: float,
    image: wp.array4d(dtype=float),
    depth: wp.array3d(dtype=float),
    opacity: wp.array3d(dtype=float),
):
    view, row, column = wp.tid()
    n = source[view]
    eye = eyes[view]
    ray = rays[view] * wp.vec3(float(column) + 0.5, float(row) + 0.5, 1.0)
    slope_x = ray[0] / ray[2]
    slope_y = ray[1] / ray[2]
    count = planes.shape[0]
    through = float(1.0)  # noqa: UP018 - in a kernel, float() declares a variable that a loop may change
    colour = wp.vec3()
    far = float(0.0)  # noqa: UP018
    covered = float(0.0)  # noqa: UP018
    for p in range(count):
        ahead = planes[p, 0] - eye[2]
        x = texel(eye[0] + ahead * slope_x, planes[p, 2], columns, inset)
        y = texel(eye[1] + ahead * slope_y, planes[p, 1], rows, inset)
        if x > -1.0 and y > -1.0 and x < float(columns) and y < float(rows):
            # x and y exceed -1: truncation after a shift is a floor without a library call.
            left = int(x + 1.0) - 1
            top = int(y + 1.0) - 1
            fx = x - float(left)
            fy = y - float(top)
            # Texels outside are zero: their weight is zeroed and their index moved inside.
            w00 = (1.0 - fx) * (1.0 - fy)
            w01 = fx * (1.0 - fy)
            w10 = (1.0 - fx) * fy
            w11 = fx * fy
            right = left + 1
            bottom = top + 1
            if left < 0:
                w00 = 0.0
                w10 = 0.0
                left = 0
            if top < 0:
                w00 = 0.0
                w01 = 0.0
                top = 0
            if right >= columns:
                w01 = 0.0
                w11 = 0.0
                right = columns - 1
            if bottom >= rows:
                w10 = 0.0
                w11 = 0.0
                bottom = rows - 1
            i00 = top * columns + left
            i01 = top * columns + right
            i10 = bottom * columns + left
            i11 = bottom * columns + right
            layer = (n * count + p) * rows * columns
            alpha = (
                w00 * alphas[layer + i00]
                + w01 * alphas[layer + i01]
                + w10 * alphas[layer + i10]
                + w11 * alphas[layer + i11]
            )
            weight = alpha * through
            if weight != 0.0:
                t = (n * textures + texture_of_plane[p]) * rows * columns
                colour += weight * (
                    w00 * colours[t + i00] + w01 * colours[t + i01] + w10 * colours[t + i10] + w11 * colours[t + i11]
                )
                far += weight * (ahead / ray[2])
                covered += weight
                through = through * (1.0 - alpha + 1.0e-10)
    image[view, 0, row, column] = colour[0]
    image[view, 1, row, column] = colour[1]
    image[view, 2, row, column] = colour[2]
    depth[view, row, column] = far
    opacity[view, row, column] = covered


@wp.kernel
def composite_backward(
    colours: wp.array1d(dtype=wp.vec3),
    alphas: wp.array1d(dtype=float),
    rows: int,
    columns: int,
    planes: wp.array2d(dtype=float),
    texture_of_plane: wp.array1d(dtype=int),
    textures: int,
    source: wp.array1d(dtype=int),
    eyes: wp.array1d(dtype=wp.vec3),
    rays: wp.array1d(dtype=wp.mat33),
    inset: float,
    grad_image: wp.array4d(dtype=float),
    grad_depth: wp.array3d(dtype=float),
    grad_opacity: wp.array3d(dtype=float),
    transmittance: wp.array4d(dtype=float),  # (V, P, H, W) scratch
    grad_colours: wp.array1d(dtype=wp.vec3),
    grad_alphas: wp.array1d(dtype=float),
):
    view, row, column = wp.tid()
    n = source[view]
    eye = eyes[view]
    ray = rays[view] * wp.vec3(float(column) + 0.5, float(row) + 0.5, 1.0)
    slope_x = ray[0] / ray[2]
    slope_y = ray[1] / ray[2]
    count = planes.shape[0]
    grad = wp.vec3(grad_image[view, 0, row, column], grad_image[view, 1, row, column], grad_image[view, 2, row, column])
    along = grad_depth[view, row, column]
    constant = grad_opacity[view, row, column]
    through = float(1.0)  # noqa: UP018 - in a kernel, float() declares a variable that a loop may change
    # First near to far for the transmittance, then far to near with `behind`, the gradient-weighted value that the
    # planes behind would show unobstructed. Dividing a running total by 1 - alpha instead would fail at alpha = 1.
    behind = float(0.0)  # noqa: UP018
    for step in range(2 * count):
        p = step
        if step >= count:
            p = 2 * count - 1 - step
        ahead = planes[p, 0] - eye[2]
        x = texel(eye[0] + ahead * slope_x, planes[p, 2], columns, inset)
        y = texel(eye[1] + ahead * slope_y, planes[p, 1], rows, inset)
        inside = x > -1.0 and y > -1.0 and x < float(columns) and y < float(rows)
        if step < count:
            transmittance[view, p, row, column] = through
        if inside:
            # x and y exceed -1: truncation after a shift is a floor without a library call.
            left = int(x + 1.0) - 1
            top = int(y + 1.0) - 1
            fx = x - float(left)
            fy = y - float(top)
            w00 = (1.0 - fx) * (1.0 - fy)
            w01 = fx * (1.0 - fy)
            w10 = (1.0 - fx) * fy
            w11 = fx * fy
            right = left + 1
            bottom = top + 1
            if left < 0:
                w00 = 0.0
                w10 = 0.0
                left = 0
            if top < 0:
                w00 = 0.0
                w01 = 0.0
                top = 0
            if right >= columns:
                w01 = 0.0
                w11 = 0.0
                right = columns - 1
            if bottom >= rows:
                w10 = 0.0
                w11 = 0.0
                bottom = rows - 1
            i00 = top * columns + left
            i01 = top * columns + right
            i10 = bottom * columns + left
            i11 = bottom * columns + right
            layer = (n * count + p) * rows * columns
            alpha = (
                w00 * alphas[layer + i00]
                + w01 * alphas[layer + i01]
                + w10 * alphas[layer + i10]
                + w11 * alphas[layer + i11]
            )
            if step < count:
                through = through * (1.0 - alpha + 1.0e-10)
            else:
                t = (n * textures + texture_of_plane[p]) * rows * columns
                reached = transmittance[view, p, row, column]
                seen = w00 * colours[t + i00] + w01 * colours[t + i01] + w10 * colours[t + i10] + w11 * colours[t + i11]
                value = wp.dot(grad, seen) + along * (ahead / ray[2]) + constant
                slope = reached * (value - behind)
                wp.atomic_add(grad_alphas, layer + i00, w00 * slope)
                wp.atomic_add(grad_alphas, layer + i01, w01 * slope)
                wp.atomic_add(grad_alphas, layer + i10, w10 * slope)
                wp.atomic_add(grad_alphas, layer + i11, w11 * slope)
                weight = reached * alpha
                if weight != 0.0:
                    wp.atomic_add(grad_colours, t + i00, w00 * weight * grad)
                    wp.atomic_add(grad_colours, t + i01, w01 * weight * grad)
                    wp.atomic_add(grad_colours, t + i10, w10 * weight * grad)
                    wp.atomic_add(grad_colours, t + i11, w11 * weight * grad)
                behind = alpha * value + (1.0 - alpha + 1.0e-10) * behind


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, colours, alphas, planes, texture_of_plane, source, eyes, rays, size, inset):
        views = len(source)
        image = colours.new_empty(views, 3, *size)
        depth, opacity = colours.new_empty(views, *size), colours.new_empty(views, *size)
        scene = _Composite.scene(colours, alphas, planes, texture_of_plane, source, eyes, rays, inset)
        outputs = [as_array(x, wp.float32) for x in (image, depth, opacity)]
        launch(composite, (views, *size), scene + outputs, colours.device)
        ctx.save_for_backward(colours, alphas, planes, texture_of_plane, source, eyes, rays)
        ctx.inset = inset
        return image, depth, opacity

    @staticmethod
    def scene(colours, alphas, planes, texture_of_plane, source, eyes, rays, inset) -> list:
        return [
            as_array(colours.view(-1, 3), wp.vec3),
            as_array(alphas.view(-1), wp.float32),
            *alphas.shape[2:],
            as_array(planes, wp.float32),
            as_array(texture_of_plane, wp.int32),
            colours.shape[1],
            as_array(source, wp.int32),
            as_array(eyes, wp.vec3),
            as_array(rays, wp.mat33),
            inset,
        ]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_image, grad_depth, grad_opacity):
        colours, alphas, *rest = ctx.saved_tensors
        views, _, *size = grad_image.shape
        grads = torch.zeros_like(colours), torch.zeros_like(alphas)
        scratch = alphas.new_empty(views, alphas.shape[1], *size)
        inputs = [
            *_Composite.scene(colours, alphas, *rest, ctx.inset),
            *(as_array(x.contiguous(), wp.float32) for x in (grad_image, grad_depth, grad_opacity)),
            as_array(scratch, wp.float32),
            as_array(grads[0].view(-1, 3), wp.vec3),
            as_array(grads[1].view(-1), wp.float32),
        ]
        launch(composite_backward, (views, *size), inputs, colours.device)
        return *grads, None, None, None, None, None, None, None


def render(
    colours: Tensor,
    alphas: Tensor,
    planes: Tensor,
    cameras: Camera,
    *,
    source: Tensor | None = None,
    align_corners: bool = True,
    check: bool = True,
) -> Rendering:
    """Views of multiplane images whose planes face the z axis.

    Args:
        colours: (N, K, 3, R, S) the distinct textures. K = P: one a plane; K = 2: planes 0 to P - 2 show the first and
            the last plane the second; K = 1: all planes show it.
        alphas: (N, P, R, S), nearest plane first.
        planes: (P, 3) z, height and width of each plane, centred on the z axis.
        cameras: V cameras of one picture size; what they see is rendered in float32.
        source: (V,) which multiplane image each camera looks at; by default V = N and each its own.
        align_corners: the planes' corners are the centres of the corner texels; otherwise the texels' edges
            are, and coordinates inside shrink by 0.95.
        check: refuse cameras whose rays miss the last plane, or that are not in front of all planes.

    Raises:
        OutsideBackPlane: naming the camera.
    """
    planes_count = alphas.shape[1]
    distinct = colours.shape[1]
    if distinct not in (1, 2, planes_count):
        raise ValueError(f"{distinct} textures for {planes_count} planes: expected 1, 2 or one a plane")
    device = alphas.device
    rotation = cameras.rotation.double()
    rays = rotation.mT @ torch.linalg.inv(cameras.intrinsics.double())
    eyes = cameras.position.double()
    if check:
        require_inside(planes, eyes, rays, cameras.size)
    index = torch.arange(planes_count)
    if distinct != planes_count:
        index = (index == planes_count - 1).long() * (distinct - 1)
    if source is None:
        if len(eyes) != len(alphas):
            raise ValueError(f"{len(eyes)} cameras for {len(alphas)} multiplane images: say which sees which (source)")
        source = torch.arange(len(eyes))
    image, depth, opacity = _Composite.apply(
        colours.float().movedim(2, -1).contiguous(),  # one load fetches a texel's colour
        alphas.float().contiguous(),
        planes.to(device, torch.float32).contiguous(),
        index.to(device, torch.int32),
        source.to(device, torch.int32),
        eyes.to(device, torch.float32).contiguous(),
        rays.to(device, torch.float32).contiguous(),
        tuple(cameras.size),
        0.0 if align_corners else INSET,
    )
    return Rendering(image, depth.unsqueeze(1), opacity.unsqueeze(1))


def require_inside(planes: Tensor, eyes: Tensor, rays: Tensor, size: tuple[int, int]) -> None:
    """Raise unless all rays through the pixels' centres of cameras (V, 3), (V, 3, 3) hit the last plane of (P, 3)."""
    height, width = size
    corners = eyes.new_tensor([[x, y, 1.0] for x in (0.5, width - 0.5) for y in (0.5, height - 0.5)])
    # A perspective map sends the picture's rectangle onto a convex quadrilateral: its corners bound it.
    directions = corners @ rays.mT  # (V, 4, 3)
    steps = (planes[-1, 0].to(eyes) - eyes[:, None, 2]) / directions[..., 2]
    hits = eyes[:, None, :2] + steps[..., None] * directions[..., :2]
    reach = hits.abs().amax(dim=1) / (planes[-1, [2, 1]].to(eyes) / 2)
    behind = (eyes[:, 2] >= planes[:, 0].min().to(eyes)) | (steps <= 0).any(dim=1)
    wrong = ((reach > 1).any(dim=1) | behind).nonzero()
    if len(wrong):
        index = int(wrong[0])
        eye = ", ".join(f"{value:.4f}" for value in eyes[index].tolist())
        raise OutsideBackPlane(
            f"camera {index} at ({eye}) looks past the back plane (reach {reach[index].max():.3f}, at most 1) or "
            "stands among the planes: choose a pose nearer the front"
        )
