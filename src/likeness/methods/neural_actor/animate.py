"""`likeness animate neural_actor`: a trained actor on any camera path, in any pose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from likeness.errors import UserError
from likeness.formats.actor import (
    ActorCamera,
    ActorFrame,
    BodyFiles,
    read_body,
    read_camera_poses,
    read_cameras,
    read_frames,
    read_intrinsics,
    read_skeleton,
    read_transform,
)
from likeness.geometry.body import Pose, posed_vertices
from likeness.media.image import list_images, read_uint8
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.config import parse_views
from likeness.methods.neural_actor.driven import predict_textures
from likeness.methods.neural_actor.renderer import RenderConfig
from likeness.methods.neural_actor.retarget import (
    match_bones,
    parse_bones,
    read_rig,
    read_shape,
    retarget,
    stand_alike,
    told,
)
from likeness.methods.neural_actor.shots import OutputType, Shot, ShotOptions, write_shots
from likeness.methods.neural_actor.viewpoints import (
    CameraPath,
    PathStyle,
    Viewpoint,
    parse_path_arguments,
    picture_size,
    studio_distance,
)


@dataclass(frozen=True, kw_only=True)
class AnimateConfig:
    """Render an actor's run to PNG and MP4: any pose, from a camera path, given cameras or the studio's own."""

    out: Path
    """Folder to write: <type>/%06d.png, pose/%06d.txt, full_<time>.mp4."""
    run: Path | None = None
    """The run of stage renderer; default: the actor that ships with the package, who needs --data."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    data: Path | None = None
    """Folder of the actor (cameras, poses, textures); default: the run's own."""
    poses: Path | None = None
    """Another folder with transform/*.json of the same rig (and tex/): new poses."""
    driver: Path | None = None
    """Folder of another actor whose motion is carried over, with its own body and skeleton.json."""
    bones: str = ""
    """Names of bones that differ, as `actor's: driver's, ...`; equal names match by themselves."""
    shape: Path | None = None
    """Folder with the canonical.obj of another body of the same mesh, and a motion of it: the actor takes its shape."""
    textures: Path | None = None
    """Folder of texture maps, one a pose (predicted ones, say), or one picture for all; default: tex/ of the poses,
    and with a driver the actor's own first one."""
    texture_run: Path | None = None
    """Run of stage texture: predict the texture maps from normal maps of the poses, which are written to OUT too."""
    start_end: tuple[int, int] | None = None
    """Half-open range of poses; default all."""
    subsample: int = 1
    """Every so many poses."""
    maximum_frames: int | None = None
    """Stop after so many pictures."""
    resolution: tuple[int, int] = (512, 512)
    """Height and width of the pictures."""
    path_style: PathStyle = "circle"
    """circle goes round; zoomin_circle also comes nearer and back; zoomin_line only does that."""
    path_args: str = ""
    """Of the path, as in `radius: 3, h: 1, axis: y, t0: 0, r: 1, offset: (0,0,0), nearest: 1, approach: 0.02`;
    radius and h default to those of the studio's first camera."""
    angular_speed: float = 1.0
    """Degrees of the path from one picture to the next."""
    num_frames: int = 1
    """Pictures of every pose, along the path."""
    at_vector: tuple[float, float, float] | None = None
    """Point that the path's cameras look at, metres; default: the middle of the first pose's joints."""
    up_vector: tuple[float, float, float] = (0.0, -1.0, 0.0)
    """Direction that points down in the pictures: the published name and sign."""
    camera_poses: Path | None = None
    """Cameras instead of a path, file or line k for picture k: a text file of 16 numbers a line, or a folder of 4 x 4
    files, camera to world (`extrinsic/`: world to camera)."""
    camera_intrinsics: Path | None = None
    """Intrinsics instead of the studio's first: one file, or a folder with file k for picture k."""
    intrinsics_size: tuple[int, int] | None = None
    """Height and width of the pictures that the intrinsics refer to; default: the data's pictures, or twice the
    principal point."""
    views: str | None = None
    """Cameras of the studio instead of a path, as `0..4` or `0,3`: every pose is shown by each of them."""
    output_types: tuple[OutputType, ...] = ("color",)
    """color; depth (jet, least to largest); normal (of the depth); predn (the field's own, canonical); voxel (textured
    mesh); jcolors (skinning weights); skel (joints); marchingcube (the surface as mc_mesh/%06d.ply)."""
    mesh_resolution: int = 128
    """Grid points a side of `marchingcube`."""
    combine_output: bool = True
    """One video with all types side by side; else one a type."""
    save_fps: float = 24.0
    """Frames a second of the video."""
    near_body_only: bool = False
    """Give no density to samples farther from the body than training looked; removes ghosts between limbs."""
    chunk_size: int = 64
    """Samples evaluated at once, in units of 1024; memory only."""
    device: str = "cpu"
    """Such as cuda."""


def animate(config: AnimateConfig) -> list[Path]:
    """Render poses from cameras; returns the videos."""
    avatar = Avatar.from_run(config.run, config.which, config.device)
    if config.shape is not None:
        avatar = avatar.reshaped(read_shape(config.shape, avatar.network.encoder.faces))
    shots = plan_shots(avatar, config)
    options = ShotOptions(
        size=config.resolution,
        output_types=config.output_types,
        rate=config.save_fps,
        combined=config.combine_output,
        render=render_settings(avatar, config.near_body_only, config.chunk_size),
        mesh_resolution=config.mesh_resolution,
        parents=known_parents(config.data or avatar.config.data),
    )
    videos = write_shots(avatar, shots, config.out, options)
    for video in videos:
        print(f"{video}: {len(shots)} pictures")
    return videos


def known_parents(data: Path) -> tuple[int, ...] | None:
    """Each bone's parent where the data say so."""
    return read_skeleton(data)[1] if (data / "skeleton.json").is_file() else None


def render_settings(avatar: Avatar, near_body_only: bool, chunk_size: int) -> RenderConfig:
    """The run's sampling with what inference may change."""
    return replace(avatar.config.render, near_body_only=near_body_only, chunk_size=chunk_size)


def plan_shots(avatar: Avatar, config: AnimateConfig) -> list[Shot]:
    """Every picture to make, in order: pose by pose, and for each pose camera by camera.

    Raises:
        UserError: no poses, no textures, or views that are not there.
    """
    data = config.data or avatar.config.data
    if config.run is None and config.data is None:
        raise UserError(
            "the shipped actor brings neither cameras nor poses: film some with `likeness capture neural_actor OUT`, "
            "then give --data OUT/testing; or give --run"
        )
    filmed = config.textures is None and config.texture_run is None and config.driver is None
    everything = read_frames(config.driver or config.poses or data, maps=filmed)
    frames = chosen_frames(everything, config.start_end, config.subsample)
    poses = carried_over(avatar, config, data, [read_transform(frame.transform) for frame in frames])
    moments = list(zip(poses, chosen_textures(avatar, config, data, everything, frames, poses)))
    if config.views is not None:
        studio = read_cameras(data)
        size = config.intrinsics_size or studio_size(data, studio)
        numbers = parse_views(config.views, "views")
        if max(numbers) >= len(studio):
            raise UserError(f"view {max(numbers)} is asked for, there are {len(studio)} cameras", path=data)
        shots = [
            Shot(pose, texture, Viewpoint(studio[number], size)) for pose, texture in moments for number in numbers
        ]
        return shots[: config.maximum_frames]
    cameras = moving_cameras(config, data, poses, len(moments) * config.num_frames)
    # One pose under many given cameras stands still for all of them.
    each = len(cameras) if len(moments) == 1 and config.camera_poses is not None else config.num_frames
    planned = [moment for moment in moments for _ in range(each)]
    if len(cameras) != len(planned):
        print(f"{len(planned)} pictures of the poses, {len(cameras)} cameras: stops at the lesser")
    shots = [Shot(pose, texture, camera) for (pose, texture), camera in zip(planned, cameras)]
    return shots[: config.maximum_frames]


def carried_over(avatar: Avatar, config: AnimateConfig, data: Path, poses: list[Pose]) -> list[Pose]:
    """Poses on the actor's bones, or on those of the shape that it takes; as they are without driver and shape.

    Raises:
        UserError: a skeleton is absent, or no bone matches.
    """
    if config.driver is None and config.shape is None:
        return poses
    source = config.driver or config.poses or data
    theirs, ours = read_rig(source), read_rig(config.shape or data)
    match = match_bones(ours, theirs, parse_bones(config.bones))
    print(told(match, ours.names))
    up = -torch.tensor(config.up_vector) / torch.tensor(config.up_vector).norm()
    body = read_body(source, tpose=False, files=avatar.config.body if source == data else BodyFiles())
    moved = []
    for pose in poses:
        height = float((posed_vertices(body, pose) @ up).min())
        ported = retarget(pose, ours, theirs, match)
        posed = avatar.pose(ported)
        moved.append(stand_alike(ported, posed.pose.to_world(posed.vertices).cpu(), height, up))
    return moved


def chosen_frames(
    frames: Sequence[ActorFrame], start_end: tuple[int, int] | None, subsample: int = 1
) -> list[ActorFrame]:
    """Frames of a half-open range, every so many.

    Raises:
        UserError: none is left.
    """
    start, end = start_end or (0, len(frames))
    chosen = list(frames[start : min(end, len(frames)) : max(1, subsample)])
    if not chosen:
        raise UserError(f"poses {start}..{end} are none of the {len(frames)} there are")
    return chosen


def chosen_textures(
    avatar: Avatar,
    config: AnimateConfig,
    data: Path,
    everything: Sequence[ActorFrame],
    frames: Sequence[ActorFrame],
    poses: Sequence[Pose],
) -> list[Path]:
    """A texture map for each pose, predicted where the configuration names a predictor.

    Raises:
        UserError: there are too few, or two sources of them are named.
    """
    if config.texture_run is None:
        textures = config.textures
        if config.driver is not None and textures is None:
            first = read_frames(data)[:1]
            textures = texture_files(first, first, None)[0]
            print(f"every picture wears the texture {textures}: --textures or --texture-run gives others")
        return texture_files(everything, frames, textures)
    if config.textures is not None:
        raise UserError("--textures and --texture-run both name texture maps: give one of them")
    # The renderer learned from maps of this size, and its features depend on it.
    trained_on = avatar.config.data if config.run is not None else data
    filmed = next((frame.texture for frame in read_frames(trained_on) if frame.texture is not None), None)
    side = None if filmed is None else read_uint8(filmed).shape[0]
    return predict_textures(avatar, poses, config.texture_run, config.out, side, config.device)


def texture_files(everything: Sequence[ActorFrame], frames: Sequence[ActorFrame], textures: Path | None) -> list[Path]:
    """A texture map for each of `frames`, by position among `everything`; a folder may also hold just as many.

    Raises:
        UserError: there are too few.
    """
    if textures is None:
        missing = [frame.transform for frame in frames if frame.texture is None]
        if missing:
            raise UserError(
                "has no texture map beside it (tex/): give --textures, one picture or a folder of predicted ones",
                path=missing[0],
            )
        return [frame.texture for frame in frames if frame.texture is not None]
    if textures.is_file():
        return [textures] * len(frames)
    files = list_images(textures)
    if len(files) >= len(everything):
        return [files[everything.index(frame)] for frame in frames]
    if len(files) < len(frames):
        raise UserError(f"holds {len(files)} texture maps for {len(frames)} poses", path=textures)
    return files[: len(frames)]


def studio_size(data: Path, cameras: Sequence[ActorCamera]) -> tuple[int, int]:
    """(height, width) of the studio's pictures."""
    try:
        shown = read_frames(data)[0].pictures
    except UserError:
        shown = ()
    return picture_size(shown, cameras[0].intrinsics)


def moving_cameras(config: AnimateConfig, data: Path, poses: Sequence[Pose], count: int) -> list[Viewpoint]:
    """A camera for every picture, from files or along the path; one given pose serves all `count` pictures."""
    intrinsics, size = given_intrinsics(config, data)
    if config.camera_poses is not None:
        matrices = list(read_camera_poses(config.camera_poses))
        matrices = matrices * count if len(matrices) == 1 else matrices
    else:
        path = camera_path(config, data, poses[0])
        matrices = [path.camera_to_world(index * config.angular_speed) for index in range(count)]
    if len(intrinsics) == 1:
        intrinsics = intrinsics * len(matrices)
    elif len(intrinsics) < len(matrices):
        raise UserError(f"holds {len(intrinsics)} files for {len(matrices)} pictures", path=config.camera_intrinsics)
    return [Viewpoint(ActorCamera(each, matrix), size) for each, matrix in zip(intrinsics, matrices)]


def given_intrinsics(config: AnimateConfig, data: Path) -> tuple[list[torch.Tensor], tuple[int, int]]:
    """Intrinsics (3, 3), one for all or one a picture, and the picture size that they refer to."""
    if config.camera_intrinsics is None:
        studio = read_cameras(data)
        return [studio[0].intrinsics], config.intrinsics_size or studio_size(data, studio)
    source = config.camera_intrinsics
    files = sorted(source.glob("*.txt")) if source.is_dir() else [source]
    if not files:
        raise UserError("holds no intrinsics: expected *.txt", path=source)
    intrinsics = [read_intrinsics(file) for file in files]
    return intrinsics, config.intrinsics_size or picture_size((), intrinsics[0])


def camera_path(config: AnimateConfig, data: Path, pose: Pose) -> CameraPath:
    """The configured path; what it leaves open comes from the studio and the first pose."""
    arguments: dict[str, Any] = parse_path_arguments(config.path_args)
    x, y, z = pose.joints.mean(0).tolist()
    at = config.at_vector or (x, y, z)
    if not {"radius", "h"} <= set(arguments):
        radius, height = studio_distance(read_cameras(data), torch.tensor(at), arguments.get("axis", "y"))
        arguments = {"radius": radius, "h": height} | arguments
    return CameraPath(style=config.path_style, at=at, up=config.up_vector, **arguments)
