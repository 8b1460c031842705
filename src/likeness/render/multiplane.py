"""Rendering multiplane images: every ray crosses the planes near to far, looks up a texture and composites.

One Warp kernel per direction, for CPU and CUDA. Nothing per plane is stored on the way forward; on the way back the
transmittance is, once. Gradients reach the textures only: the geometry is constant.
Source: Zhao et al., "Generative Multiplane Images", ECCV 2022, section 3.1 (compositing, eqs. 1 to 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from likeness.errors import UserError
from likeness.geometry.camera import Camera
from likeness.kernels import as_array, launch
from likeness.render.multiplane_kernels import composite, composite_backward

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


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, colours, alphas, texels, ahead, texture_of_plane, source, rays, size, stretch):
        views = len(source)
        image = alphas.new_empty(views, 3, *size)
        depth, opacity = alphas.new_empty(views, *size), alphas.new_empty(views, *size)
        packed = _packed(colours)
        scene = _Composite.scene(packed, alphas, texels, ahead, texture_of_plane, source, rays, stretch)
        outputs = [as_array(x, wp.float32) for x in (image, depth, opacity)]
        launch(composite, (views, *size), scene + outputs, alphas.device)
        ctx.save_for_backward(packed, alphas, texels, ahead, texture_of_plane, source, rays)
        ctx.stretch = stretch
        return image, depth, opacity

    @staticmethod
    def scene(packed, alphas, texels, ahead, texture_of_plane, source, rays, stretch) -> list:
        return [
            as_array(packed.view(-1, 4), wp.vec4),
            as_array(alphas.view(-1), wp.float32),
            *alphas.shape[2:],
            as_array(texels.view(-1, 4), wp.vec4),
            as_array(ahead.view(-1), wp.float32),
            as_array(texture_of_plane, wp.int32),
            packed.shape[1],
            as_array(source, wp.int32),
            as_array(rays, wp.mat33),
            stretch,
        ]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_image, grad_depth, grad_opacity):
        packed, alphas, texels, ahead, texture_of_plane, source, rays = ctx.saved_tensors
        views, _, *size = grad_image.shape
        grads = torch.zeros_like(packed), torch.zeros_like(alphas)
        scratch = alphas.new_empty(views, alphas.shape[1], *size)
        inputs = [
            *_Composite.scene(packed, alphas, texels, ahead, texture_of_plane, source, rays, ctx.stretch),
            *(as_array(x.contiguous(), wp.float32) for x in (grad_image, grad_depth, grad_opacity)),
            as_array(scratch, wp.float32),
            as_array(grads[0].view(-1, 4), wp.vec4),
            as_array(grads[1].view(-1), wp.float32),
        ]
        launch(composite_backward, (views, *size), inputs, alphas.device)
        return grads[0][..., :3].movedim(-1, 2), grads[1], None, None, None, None, None, None, None


def _packed(colours: Tensor) -> Tensor:
    """(N, K, 3, R, S) -> (N, K, R, S, 4): one load of 16 bytes fetches a texel."""
    n, k, _, rows, columns = colours.shape
    packed = colours.new_zeros(n, k, rows, columns, 4)
    packed[..., :3] = colours.movedim(2, -1)
    return packed


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
    texels, ahead = texels_of_slopes(planes, eyes, alphas.shape[2:], align_corners)
    image, depth, opacity = _Composite.apply(
        colours.float(),
        alphas.float().contiguous(),
        texels.to(device, torch.float32).contiguous(),
        ahead.to(device, torch.float32).contiguous(),
        index.to(device, torch.int32),
        source.to(device, torch.int32),
        rays.to(device, torch.float32).contiguous(),
        tuple(cameras.size),
        1.0 if align_corners else 1 / INSET,
    )
    return Rendering(image, depth.unsqueeze(1), opacity.unsqueeze(1))


def texels_of_slopes(
    planes: Tensor, eyes: Tensor, texture: Sequence[int], align_corners: bool
) -> tuple[Tensor, Tensor]:
    """How a ray's slopes x/z and y/z become texel coordinates on planes (P, 3), from eyes (V, 3).

    Returns:
        (V, P, 4) a, b, c, d with column = a slope_x + b and row = c slope_y + d, inside the plane; and (V, P) depths of
        the planes before the eye.
    """
    depth, height, width = planes.to(eyes).unbind(-1)
    ahead = depth - eyes[:, 2:]
    places = []
    for axis, extent, count in ((0, width, texture[1]), (1, height, texture[0])):
        half = (count - 1) / 2 if align_corners else INSET * count / 2
        gain = 2 * half / extent  # texels a scene unit
        places += [ahead * gain, eyes[:, axis, None] * gain + (count - 1) / 2]
    return torch.stack(places, dim=-1), ahead


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
