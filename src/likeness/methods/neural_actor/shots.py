"""Pictures of an actor in a sequence of poses and cameras, written as PNG and MP4."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import trimesh
from rich.progress import track
from torch import Tensor

from likeness.errors import UserError
from likeness.files import write_text
from likeness.geometry.body import Pose
from likeness.media.image import read_image, write_image
from likeness.media.video import VideoWriter
from likeness.methods.neural_actor import pictures
from likeness.methods.neural_actor.avatar import Avatar, View
from likeness.methods.neural_actor.networks.actor import PosedBody
from likeness.methods.neural_actor.renderer import RenderConfig
from likeness.methods.neural_actor.surface import extract_surface, write_mesh
from likeness.methods.neural_actor.viewpoints import Viewpoint

OutputType = Literal["color", "depth", "normal", "predn", "voxel", "jcolors", "skel", "marchingcube"]
MESH_FOLDER = "mc_mesh"


@dataclass(frozen=True)
class Shot:
    """One moment seen by one camera."""

    pose: Pose
    texture: Path | Tensor
    """A texture map: its file, or (3, H, W) in [0, 1]."""
    viewpoint: Viewpoint


@dataclass(frozen=True)
class Drawn:
    """A shot and what was drawn of it."""

    shot: Shot
    body: PosedBody
    view: View
    pictures: dict[OutputType, Tensor] = field(default_factory=dict)
    """(3, H, W) each."""
    mesh: trimesh.Trimesh | None = None
    """Of `marchingcube`."""


@dataclass(frozen=True)
class ShotOptions:
    """How shots are drawn and written."""

    size: tuple[int, int]
    """(height, width)."""
    output_types: tuple[OutputType, ...] = ("color",)
    rate: float = 24.0
    """Frames a second of the video."""
    combined: bool = True
    """One video with the types side by side, instead of one a type."""
    render: RenderConfig | None = None
    """How rays are sampled; None takes the run's own."""
    parents: tuple[int, ...] | None = None
    """Each bone's parent, for `skel`."""
    mesh_resolution: int = 128
    """Grid points a side, for `marchingcube`."""

    @property
    def picture_types(self) -> tuple[OutputType, ...]:
        """The output types that are pictures."""
        return tuple(name for name in self.output_types if name != "marchingcube")


def draw_shots(avatar: Avatar, shots: Sequence[Shot] | Iterator[Shot], options: ShotOptions) -> Iterator[Drawn]:
    """Draw shots one after the other; neighbours with the same texture share its features."""
    source: Path | Tensor | None = None
    for shot in shots:
        if shot.texture is not source:
            texture = read_image(shot.texture) if isinstance(shot.texture, Path) else shot.texture
            texture_map, source = avatar.texture_map(texture), shot.texture
        body = avatar.pose(shot.pose)
        normals = "predn" in options.output_types
        view = avatar.view(body, texture_map, shot.viewpoint, options.size, options.render, normals)
        drawn = {name: draw(name, avatar, shot, body, view, texture, options) for name in options.picture_types}
        mesh = None
        if "marchingcube" in options.output_types:
            mesh = extract_surface(avatar, body, texture_map, options.mesh_resolution)
        yield Drawn(shot, body, view, drawn, mesh)


def draw(
    name: OutputType, avatar: Avatar, shot: Shot, body: PosedBody, view: View, texture: Tensor, options: ShotOptions
) -> Tensor:
    """(3, H, W) the output `name` of a view."""
    if name == "color":
        return pictures.color_picture(view)
    if name == "depth":
        return pictures.depth_picture(view)
    if name == "normal":
        return pictures.normal_picture(view, shot.viewpoint)
    if name == "predn":
        return pictures.field_normal_picture(view)
    if name == "voxel":
        return pictures.mesh_picture(avatar.network, body, view, texture)
    if name == "jcolors":
        return pictures.weights_picture(avatar.network, body, view)
    return pictures.skeleton_picture(pictures.color_picture(view), shot.pose.joints, shot.viewpoint, options.parents)


def write_shots(avatar: Avatar, shots: Sequence[Shot], out: Path, options: ShotOptions) -> list[Path]:
    """Write `<type>/%06d.png`, `mc_mesh/%06d.ply`, `pose/%06d.txt` (camera to world) and videos; returns the videos.

    Raises:
        UserError: no shots.
    """
    if not shots:
        raise UserError("there is nothing to render: the frames or cameras asked for are none")
    empty = 0
    for index, drawn in enumerate(track(draw_shots(avatar, shots, options), "rendering", len(shots), transient=True)):
        empty += drawn.view.hits == 0
        for name, picture in drawn.pictures.items():
            write_image(out / name / f"{index:06d}.png", picture, synthetic=True)
        if drawn.mesh is not None:
            write_mesh(out / MESH_FOLDER / f"{index:06d}.ply", drawn.mesh)
        rows = drawn.shot.viewpoint.camera.camera_to_world.tolist()
        text = "\n".join(" ".join(f"{value:.8f}" for value in row) for row in rows)
        write_text(out / "pose" / f"{index:06d}.txt", text + "\n")
    if empty:
        print(f"{empty} of {len(shots)} pictures show nothing of the actor: no ray comes near the body")
    return write_videos(out, len(shots), options)


def write_videos(out: Path, count: int, options: ShotOptions) -> list[Path]:
    """`full_<time>.mp4` of the written pictures side by side, or `<type>_<time>.mp4` of each type."""
    moment = time.strftime("%Y-%m-%d_%H-%M-%S")
    types = options.picture_types
    groups = {"full": types} if options.combined and types else {name: (name,) for name in types}
    videos = []
    for name, members in groups.items():
        path = out / f"{name}_{moment}.mp4"
        with VideoWriter(path, options.rate, synthetic=True) as video:
            for index in range(count):
                row = [read_image(out / member / f"{index:06d}.png") for member in members]
                video.write(torch.cat(row, dim=-1))
        videos.append(path)
    return videos
