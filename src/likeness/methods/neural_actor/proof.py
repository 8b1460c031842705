"""What a trained actor must beat: its own mesh, drawn with the mean of the textures it was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.formats.actor import ActorCamera
from likeness.geometry.body import BodyModel, Pose, posed_vertices
from likeness.media.image import read_image
from likeness.methods.neural_actor.data import ActorFolder
from likeness.metrics.psnr import psnr
from likeness.render.interpolate import interpolate
from likeness.render.rasterise import rasterise
from likeness.render.texture import sample_texture

SUPERSAMPLE = 4
MARGIN = 2
"""Pixels around the body that still belong to its box."""


@dataclass(frozen=True)
class BoxScores:
    """PSNR, in decibels, inside of the body's box: means over pictures."""

    ours: float
    mesh: float
    """Of the undisplaced mesh with the mean training texture."""
    white: float
    """Of an empty picture."""


def mean_texture(folder: ActorFolder, frames: Sequence[int]) -> Tensor:
    """(3, H, W) mean of the texture maps of `frames`."""
    paths = [folder.frames[frame].texture for frame in frames]
    return torch.stack([read_image(path) for path in paths if path is not None]).mean(0)


def mesh_picture(
    body: BodyModel, pose: Pose, texture: Tensor, camera: ActorCamera, size: tuple[int, int], original: tuple[int, int]
) -> Tensor:
    """(3, H, W) the posed mesh with `texture` (3, h, w) on white, its edges smoothed by supersampling.

    `size` (H, W) is that of the picture, `original` that to which the camera's intrinsics belong.
    """
    world = posed_vertices(body, pose)
    local = (world - camera.camera_to_world[:3, 3]) @ camera.camera_to_world[:3, :3]
    scale = torch.tensor([size[1] / original[1], size[0] / original[0]])
    # The format's column i lies at x = i, the rasteriser's at i + 0.5.
    pixels = (local @ camera.intrinsics[:3, :3].T)[:, :2] / local[:, 2:] * scale + 0.5
    places = torch.cat([pixels * SUPERSAMPLE, local[:, 2:]], dim=-1).unsqueeze(0)
    large = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
    raster = rasterise(places, body.faces, large)
    corners = torch.arange(3 * len(body.faces)).view(-1, 3)
    uv = interpolate(body.face_uv.reshape(1, -1, 2), raster, corners)  # (1, 2, H, W)
    drawn = sample_texture(texture.flip(-2).unsqueeze(0), uv, raster.mask, wrap=False)
    drawn = torch.where(raster.mask, drawn, torch.ones_like(drawn))
    return torch.nn.functional.avg_pool2d(drawn, SUPERSAMPLE)[0]


def body_box(picture: Tensor) -> tuple[slice, slice]:
    """Rows and columns of a picture (3, H, W) that hold anything but white, and a margin."""
    drawn = picture.amin(0) < 1 - 1e-3
    rows, columns = drawn.any(1).nonzero()[:, 0], drawn.any(0).nonzero()[:, 0]
    (top, bottom), (left, right) = ((int(each.min()), int(each.max())) for each in (rows, columns))
    return slice(max(top - MARGIN, 0), bottom + MARGIN + 1), slice(max(left - MARGIN, 0), right + MARGIN + 1)


def box_psnr(picture: Tensor, truth: Tensor) -> float:
    """PSNR of pictures (3, H, W) in [0, 1] inside of the box of the true one."""
    rows, columns = body_box(truth)
    return float(psnr(picture[None, :, rows, columns], truth[None, :, rows, columns])[0])
