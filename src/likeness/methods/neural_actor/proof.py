"""`likeness prove actor`: an actor is filmed on the synthetic stage, trained, and measured where the truth is known.

What it must beat is its own mesh, smooth as it was tracked, drawn with the mean of the textures it was trained on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import trimesh
import tyro
from scipy.spatial import cKDTree
from torch import Tensor

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.engine import Run, train
from likeness.files import write_text
from likeness.formats.actor import ActorCamera, read_body, read_frames, read_transform
from likeness.geometry.body import BodyModel, Pose, posed_vertices
from likeness.media.image import read_image, write_image
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.config import PRESETS, RendererConfig
from likeness.methods.neural_actor.data import ActorFolder, read_rgba
from likeness.methods.neural_actor.extract_maps import extract_textures
from likeness.methods.neural_actor.method import RendererStage
from likeness.methods.neural_actor.shipped import pack
from likeness.methods.neural_actor.surface import distance_to_mesh, extract_surface
from likeness.metrics.psnr import psnr
from likeness.render.interpolate import interpolate
from likeness.render.rasterise import rasterise
from likeness.render.texture import sample_texture

SUPERSAMPLE = 4
MARGIN = 2
"""Pixels around the body that still belong to its box."""


SEED = 3
"""Of the actor that ships with the package."""
TEXTURE = 128
"""Side of the texture maps, unwrapped from the cameras that training sees."""
CAMERAS, HELD_OUT = 6, 5
"""Cameras of the studio, and the one that training does not see."""


@dataclass(frozen=True, kw_only=True)
class ProveConfig:
    """Film a synthetic actor, train the renderer on it, and measure it on a camera and on poses that it never saw."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write: studio/ (the data set), runs/ (the training), scores.json, proof.png."""
    seed: int = SEED
    """Of the person."""
    frames: int = 32
    """Frames to train on."""
    updates: int = 1500
    """Updates of training, of the 1500 over which the preset's learning rate falls."""
    weights: Path | None = None
    """Also write the trained actor to this small .safetensors file, as it ships with the package."""


@dataclass(frozen=True)
class BoxScores:
    """PSNR, in decibels, inside of the body's box: means over pictures."""

    ours: float
    mesh: float
    """Of the undisplaced mesh with the mean training texture."""
    white: float
    """Of an empty picture."""


@dataclass(frozen=True)
class Compared:
    """One picture three times, (3, H, W) in [0, 1]."""

    truth: Tensor
    mesh: Tensor
    ours: Tensor

    @property
    def scores(self) -> Tensor:
        """(3,) PSNR of ours, the mesh and white inside of the body's box."""
        made = (self.ours, self.mesh, torch.ones_like(self.truth))
        return torch.tensor([box_psnr(each, self.truth) for each in made])


def prove(config: ProveConfig) -> dict[str, BoxScores]:
    """Capture, train, measure; prints and writes the figures, and returns them by what is new to the actor."""
    studio = config.out / "studio"
    capture_neural_actor(
        NeuralActorCapture(
            out=studio,
            preset="tiny",
            seed=config.seed,
            frames=config.frames,
            test_frames=8,
            cameras=CAMERAS,
            maps=False,
        )
    )
    for split in ("training", "testing"):
        extract_textures(studio / split, size=TEXTURE, views=f"0..{HELD_OUT}")
    run = train_actor(studio / "training", config.out, config.updates)
    stage = opened_stage(run)
    new_camera = list(compare(stage, stage.folder, range(0, config.frames, 4), [HELD_OUT]))
    testing = ActorFolder(studio / "testing", stage.config.view_resolution, stage.config.network.background)
    new_pose = list(compare(stage, testing, range(len(testing.frames)), [1, HELD_OUT]))
    scores = {"new camera": mean_scores(new_camera), "new pose": mean_scores(new_pose)}
    for name, row in scores.items():
        print(f"{name}: {row.ours:.2f} dB, the mesh {row.mesh:.2f}, white {row.white:.2f}")
    write_text(config.out / "scores.json", json.dumps({name: asdict(row) for name, row in scores.items()}, indent=1))
    if config.weights is not None:
        pack(stage.renderer, config.weights)
    write_image(config.out / "proof.png", sheet([*new_camera[::3], *new_pose[::3]]), synthetic=True)
    return scores


def train_actor(data: Path, out: Path, updates: int) -> Run:
    """The `tiny` preset on all cameras but the last."""
    preset = PRESETS["tiny"]
    assert isinstance(preset, RendererConfig)
    settings = replace(
        preset,
        data=data,
        experiment_dir=out,
        experiment_name="actor",
        accelerator="cpu",
        train_views=f"0..{HELD_OUT}",
        valid_views=str(HELD_OUT),
        epochs=-(-updates // preset.virtual_epoch_steps),
        max_updates=updates,
        keep_last=1,
        validate_every=0,
        visuals_every=0,
    )
    return train(RendererStage, settings, method="neural_actor", stage="renderer", argv=[])


def opened_stage(run: Run) -> RendererStage:
    """The renderer of a run, ready to render."""
    stage = RendererStage(run.config(RendererConfig))
    run.load("renderer", stage.renderer)
    stage.renderer.eval()
    return stage


@torch.no_grad()
def compare(
    stage: RendererStage, folder: ActorFolder, frames: Sequence[int], views: Sequence[int]
) -> Iterator[Compared]:
    """Render frames of a folder by cameras of it, with each frame's own texture map, and draw the mesh beside."""
    config = stage.config
    texture = mean_texture(stage.folder, stage.frames(1))
    body = read_body(config.data, config.new_tpose)
    for frame in frames:
        for view in views:
            ours, truth = stage.picture(folder.batch(frame, [view]))
            pose = read_transform(folder.frames[frame].transform)
            original = read_rgba(folder.frames[frame].pictures[view]).shape
            size = config.view_resolution
            mesh = mesh_picture(body, pose, texture, folder.cameras[view], size, (original[0], original[1]))
            yield Compared(truth, mesh, ours)


@torch.no_grad()
def surface_errors(avatar: Avatar, data: Path, frame: int, resolution: int = 128) -> tuple[Tensor, trimesh.Trimesh]:
    """Distances (N,), metres, of the field's surface from the true one, hair included, and that surface."""
    files = read_frames(data)[frame]
    assert files.texture is not None
    body = avatar.pose(read_transform(files.transform))
    mesh = extract_surface(avatar, body, avatar.texture_map(read_image(files.texture)), resolution)
    truth = np.load(data / "surface" / f"{files.transform.stem}.npz")
    points = torch.from_numpy(np.array(mesh.vertices)).float()
    skin = distance_to_mesh(points, torch.from_numpy(truth["vertices"]), avatar.network.encoder.faces.int())
    hair = torch.from_numpy(cKDTree(truth["hair"].astype(np.float32)).query(points.numpy())[0]).float()
    return torch.minimum(skin, hair), mesh


def mean_scores(pictures: Sequence[Compared]) -> BoxScores:
    """The mean over pictures."""
    ours, mesh, white = torch.stack([each.scores for each in pictures]).mean(0).tolist()
    return BoxScores(ours, mesh, white)


def sheet(pictures: Sequence[Compared]) -> Tensor:
    """(3, H, W) truth, mesh and ours in three rows, a column a picture."""
    columns = [torch.cat([each.truth, each.mesh, each.ours], dim=1) for each in pictures]
    return torch.cat(columns, dim=2)


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
