"""What an actor is measured against: its mesh with the mean texture, white, and the true surface."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor

from likeness.formats.actor import ActorCamera, read_frames, read_transform
from likeness.geometry.body import BodyModel, Pose, posed_vertices
from likeness.media.image import read_image
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.data import ActorFolder
from likeness.methods.neural_actor.surface import distance_to_mesh, extract_surface
from likeness.metrics.psnr import psnr
from likeness.render.interpolate import interpolate
from likeness.render.rasterise import rasterise
from likeness.render.texture import sample_texture

SUPERSAMPLE = 4
MARGIN = 2
"""Pixels around the body that still belong to its box."""
LEVEL = 12.0
"""Density of the surface of a field that was trained for minutes, a third of what it is inside of the body. The
published level belongs to 300,000 updates."""
NEAR = 0.02
"""Metres within which a surface counts as the true one."""


@dataclass(frozen=True)
class SurfaceScores:
    """How far the field's surface lies from the true one, metres."""

    mean: float
    worst_of_95: float
    """Of the 95 % of its points that are nearest."""
    near: float
    """Share of its points within 2 cm."""
    closed: bool


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


@torch.no_grad()
def surface_scores(
    avatar: Avatar, data: Path, frame: int, resolution: int = 128
) -> tuple[SurfaceScores, trimesh.Trimesh]:
    """The field's surface in one frame of a synthetic studio, against `surface/`, hair included; and that surface."""
    files = read_frames(data)[frame]
    assert files.texture is not None
    body = avatar.pose(read_transform(files.transform))
    mesh = extract_surface(avatar, body, avatar.texture_map(read_image(files.texture)), resolution, LEVEL)
    truth = np.load(data / "surface" / f"{files.transform.stem}.npz")
    points = torch.from_numpy(np.array(mesh.vertices)).float()
    skin = distance_to_mesh(points, torch.from_numpy(truth["vertices"]), avatar.network.encoder.faces.int())
    hair = torch.from_numpy(cKDTree(truth["hair"].astype(np.float32)).query(points.numpy())[0]).float()
    distance = torch.minimum(skin, hair)
    scores = SurfaceScores(
        float(distance.mean()),
        float(distance.quantile(0.95)),
        float((distance < NEAR).float().mean()),
        bool(mesh.is_watertight),
    )
    return scores, mesh
