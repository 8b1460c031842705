"""`likeness prove neural_actor`: an actor is filmed on the stage, trained, and measured where the truth is known.

What it must beat is its own mesh, smooth as it was tracked, drawn with the mean of the textures it was trained on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor, film_motion
from likeness.engine import Run, train
from likeness.files import write_text
from likeness.formats.actor import read_body, read_transform
from likeness.media.image import write_image
from likeness.methods.neural_actor.animate import AnimateConfig, plan_shots
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.config import PRESETS, RendererConfig
from likeness.methods.neural_actor.data import ActorFolder, read_rgba
from likeness.methods.neural_actor.extract_maps import extract_textures
from likeness.methods.neural_actor.method import RendererStage
from likeness.methods.neural_actor.shipped import pack
from likeness.methods.neural_actor.shots import ShotOptions, draw_shots
from likeness.methods.neural_actor.surface import write_mesh
from likeness.methods.neural_actor.yardstick import SurfaceScores, box_psnr, mean_texture, mesh_picture, surface_scores

SEED = 3
"""Of the actor that ships with the package."""
TEXTURE = 128
"""Side of the texture maps, unwrapped from the cameras that training sees."""
OTHER = 2
"""Of the person whose motion is transferred."""
SQUATTING, STANDING = 0, 6
"""Frames of the testing motions."""
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
    updates: int = 2000
    """Updates of training; the learning rate falls to a tenth every 1500."""
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


@dataclass(frozen=True)
class Proof:
    """What was measured."""

    new_camera: BoxScores
    new_pose: BoxScores
    transfer: BoxScores
    """In another person's motion, in the texture of the actor's own first frame."""
    surface: SurfaceScores
    """In a new pose that stands."""
    surface_bent: SurfaceScores
    """In a new pose deep in a squat, where limbs touch each other."""


def prove(config: ProveConfig) -> Proof:
    """Capture, train, measure; prints and writes the figures and the trained actor."""
    studio = config.out / "studio"
    film(studio, config.seed, config.frames)
    run = train_actor(studio / "training", config.out, config.updates)
    stage = opened_stage(run)
    if config.weights is not None:
        pack(stage.renderer, config.weights)
    new_camera = list(compare(stage, stage.folder, range(0, config.frames, 4), [HELD_OUT]))
    testing = ActorFolder(studio / "testing", stage.config.view_resolution, stage.config.network.background)
    new_pose = list(compare(stage, testing, range(len(testing.frames)), [1, HELD_OUT]))
    transfer = list(transferred(stage, run, config))
    write_image(config.out / "proof.png", sheet([*new_camera[::3], *new_pose[::3]]), synthetic=True)
    write_image(config.out / "transfer.png", sheet(transfer), synthetic=True)
    avatar = Avatar.from_run(run.folder)
    bent, _ = surface_scores(avatar, studio / "testing", SQUATTING)
    surface, mesh = surface_scores(avatar, studio / "testing", STANDING)
    write_mesh(config.out / "surface.ply", mesh)
    proof = Proof(mean_scores(new_camera), mean_scores(new_pose), mean_scores(transfer), surface, bent)
    write_text(config.out / "scores.json", json.dumps(asdict(proof), indent=1) + "\n")
    for name in ("new_camera", "new_pose", "transfer"):
        row = getattr(proof, name)
        print(f"{name.replace('_', ' ')}: {row.ours:.2f} dB, the mesh {row.mesh:.2f}, white {row.white:.2f}")
    for name, surfaces in (("standing", surface), ("squatting", bent)):
        print(f"surface, {name}: {100 * surfaces.mean:.2f} cm off (mean), {surfaces.near:.1%} of it within 2 cm")
    return proof


def film(out: Path, seed: int, frames: int) -> None:
    """Film a person, and unwrap textures from the cameras that training sees."""
    capture_neural_actor(
        NeuralActorCapture(out=out, preset="tiny", seed=seed, frames=frames, test_frames=8, cameras=CAMERAS, maps=False)
    )
    for split in ("training", "testing"):
        extract_textures(out / split, size=TEXTURE, views=f"0..{HELD_OUT}")


def transferred(stage: RendererStage, run: Run, config: ProveConfig) -> Iterator[Compared]:
    """The actor in another person's motion, from the first camera; the truth is the actor filmed in that motion."""
    other = config.out / "other"
    capture_neural_actor(
        NeuralActorCapture(out=other, preset="tiny", seed=OTHER, frames=1, test_frames=4, cameras=1, maps=False)
    )
    data, driver = config.out / "studio" / "testing", other / "testing"
    avatar = Avatar.from_run(run.folder)
    shots = plan_shots(avatar, AnimateConfig(out=config.out, run=run.folder, data=data, driver=driver, views="0"))
    size = stage.config.view_resolution
    texture, body = mean_texture(stage.folder, stage.frames(1)), read_body(data)
    for number, drawn in enumerate(draw_shots(avatar, shots, ShotOptions(size=size))):
        truth = film_motion(config.seed, OTHER, number, 4, size[0], CAMERAS)
        mesh = mesh_picture(
            body, drawn.shot.pose, texture, drawn.shot.viewpoint.camera, size, drawn.shot.viewpoint.size
        )
        yield Compared(truth, mesh, drawn.pictures["color"])


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


def mean_scores(pictures: Sequence[Compared]) -> BoxScores:
    """The mean over pictures."""
    ours, mesh, white = torch.stack([each.scores for each in pictures]).mean(0).tolist()
    return BoxScores(ours, mesh, white)


def sheet(pictures: Sequence[Compared]) -> Tensor:
    """(3, H, W) truth, mesh and ours in three rows, a column a picture."""
    columns = [torch.cat([each.truth, each.mesh, each.ours], dim=1) for each in pictures]
    return torch.cat(columns, dim=2)
