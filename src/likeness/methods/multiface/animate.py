"""Driving an avatar: a captured sequence, another person's, or a walk between two codes, along any camera path."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.multiface import (
    AVERAGE,
    FRAMES_PER_SECOND,
    CameraRecord,
    Entity,
    audio_time,
    open_entity,
    read_frame_list,
    read_krt,
    read_mesh,
    read_picture,
    read_statistics,
    read_transform,
)
from likeness.media.video import VideoWriter
from likeness.methods.multiface.data import exported_frames, projection, texture_input, view_direction
from likeness.methods.multiface.model import MultifaceAvatar
from likeness.methods.multiface.pictures import display_curve, edges, error_map
from likeness.methods.multiface.screen import draw, draw_uv

View = Literal["rendered", "wireframe", "texture", "error"]


@dataclass(frozen=True, kw_only=True)
class AnimateConfig:
    """Decode a sequence from a camera path to an MP4."""

    run: Path
    """The run of the avatar."""
    out: Path
    """The .mp4 file."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    segment: str | None = None
    """The segment that is played; default the first of the frame list."""
    between: tuple[str, ...] = ()
    """Two or more `segment/frame`: walk through their codes instead of playing a segment."""
    steps: int = 30
    """Pictures from one code of `between` to the next."""
    source: Path | None = None
    """Entity whose frames are encoded; another person's transfers the expression. Default: the avatar's own."""
    camera: str | None = None
    """Camera id; default the first of the avatar's."""
    camera_path: Path | None = None
    """A file of KRT records, one a picture (the last stays): any path of cameras."""
    orbit: float = 0.0
    """Swing the camera to both sides of the head by so many degrees."""
    view: View = "rendered"
    """`wireframe` draws the triangles' edges over it, `texture` shows the decoded texture, `error` photograph,
    picture and their difference side by side."""
    scale: float = 0.25
    """Size of the video over that of the photographs."""
    raw_colours: bool = False
    """Leave out the display curve (white balance and square root for raw camera colours)."""
    max_frames: int | None = None
    """Stop after so many pictures."""
    sound: bool = True
    """Add the segment's wav, where there is one."""


@dataclass(frozen=True)
class Pose:
    """One picture to make: code (1, z), head pose (3, 4), time in seconds, and the frame it comes from."""

    code: Tensor
    transform: NDArray
    time: float
    frame: tuple[str, str] | None


def animate(config: AnimateConfig) -> Path:
    """Write the video that `config` describes; returns its path."""
    model = MultifaceAvatar.from_run(config.run, config.which).folded()
    entity = open_entity(config.source or model.config.data_dir)
    records = model.template.records
    camera = config.camera or model.template.trained[0]
    if camera not in records:
        raise UserError(f"there is no camera {camera!r}: choose one of {', '.join(records)}")
    path = list(read_krt(config.camera_path).values()) if config.camera_path else [records[camera]]
    frames = list_frames(entity, config.segment)
    poses = walk(model, entity, config) if config.between else play(model, entity, frames)
    row = None
    if config.camera_path is None and not config.orbit and camera in model.template.trained:
        row = torch.tensor([model.template.trained.index(camera)])
    sound = None
    if config.sound and not config.between and entity.audio(frames[0][0]).is_file():
        sound = entity.audio(frames[0][0])
    size = tuple(max(2, round(side * config.scale)) for side in model.config.resolution)
    rate = FRAMES_PER_SECOND if config.between else frame_rate(frames)
    with VideoWriter(config.out, rate, synthetic=True, audio=sound) as video:
        for index, pose in enumerate(poses):
            if config.max_frames is not None and index >= config.max_frames:
                break
            angle = math.radians(config.orbit) * math.sin(2 * math.pi * index / 60)
            record = path[min(index, len(path) - 1)]
            video.write(picture(model, pose, record, angle, (size[0], size[1]), row, config, entity, camera), pose.time)
    print(f"{config.out} is written")
    return config.out


def picture(
    model: MultifaceAvatar,
    pose: Pose,
    record: CameraRecord,
    angle: float,
    size: tuple[int, int],
    row: Tensor | None,
    config: AnimateConfig,
    entity: Entity,
    camera: str,
) -> Tensor:
    """(3, H, W) picture of one pose."""
    shrunk = np.diag([size[1] / model.config.resolution[1], size[0] / model.config.resolution[0], 1.0])
    turn = turned(record, pose.transform, angle)
    matrix = torch.from_numpy((shrunk @ projection(record, pose.transform) @ turn).astype(np.float32))[None]
    view = torch.from_numpy(turn[:3, :3].T @ view_direction(record, pose.transform)).float()[None]
    texture, verts = model.decode(pose.code, view, row)
    show = (lambda x: x) if config.raw_colours else display_curve
    if config.view == "texture":
        return show(texture)[0].flip(1).clamp(0, 1)
    with torch.no_grad():
        drawn, mask = draw(verts, texture, matrix, model.topology, size)
        shown = show(drawn) * mask
        if config.view == "wireframe":
            raster, _ = draw_uv(verts, matrix, model.topology, size)
            shown = torch.where(edges(raster.barycentric, mask), torch.tensor([0.2, 1.0, 0.4])[:, None, None], shown)
    if config.view != "error":
        return shown[0].clamp(0, 1)
    if pose.frame is None or angle or config.camera_path is not None:
        raise UserError("--view error compares with photographs: play a segment from one of its cameras")
    photo = torch.from_numpy(read_picture(entity.photo(*pose.frame[:1], camera, pose.frame[1])).copy())
    photo = photo.permute(2, 0, 1)[None].float() / 255
    photo = torch.nn.functional.interpolate(photo, size, mode="area")
    difference = error_map(drawn[0], photo[0], mask[0])
    return torch.cat([show(photo)[0].clamp(0, 1), shown[0].clamp(0, 1), difference], dim=2)


def list_frames(entity: Entity, segment: str | None) -> list[tuple[str, str]]:
    """(segment, frame) pairs of one segment that can be encoded, in time.

    Raises:
        UserError: the frame list has no such segment, or none of its frames was exported.
    """
    pairs = read_frame_list(entity.frame_list)
    names = list(dict.fromkeys(name for name, _ in pairs))
    chosen = segment or names[0]
    if chosen not in names:
        raise UserError(f"has no segment {chosen!r}; it lists {', '.join(names[:12])}", path=entity.frame_list)
    exported = exported_frames(entity, [chosen]).get((chosen, AVERAGE), set())
    frames = sorted(pair for pair in pairs if pair[0] == chosen and pair[1] in exported)
    if not frames:
        raise UserError(f"no frame of {chosen} has a mean texture under {entity.root}")
    return frames


def frame_rate(frames: Sequence[tuple[str, str]]) -> float:
    """Pictures a second of listed frames: the capture's 30 over the usual step of their numbers."""
    numbers = [int(frame) for _, frame in frames]
    steps = np.diff(numbers)
    return FRAMES_PER_SECOND / float(np.median(steps)) if len(steps) else FRAMES_PER_SECOND


def play(model: MultifaceAvatar, entity: Entity, frames: Sequence[tuple[str, str]]) -> Iterator[Pose]:
    """The frames of a segment, encoded, at their times after the first."""
    for segment, frame in frames:
        yield Pose(
            encode_frame(model, entity, segment, frame),
            read_transform(entity.transform(segment, frame)),
            audio_time(frame, frames[0][1]),
            (segment, frame),
        )


def walk(model: MultifaceAvatar, entity: Entity, config: AnimateConfig) -> Iterator[Pose]:
    """Straight lines through the codes of `between`, seen in one head pose."""
    if len(config.between) < 2:
        raise UserError("--between needs two or more `segment/frame`")
    codes = []
    for name in config.between:
        segment, _, frame = name.rpartition("/")
        codes.append(encode_frame(model, entity, segment, frame))
    index = 0
    for start, stop in itertools.pairwise(codes):
        for step in range(config.steps):
            code = torch.lerp(start, stop, step / max(config.steps - 1, 1))
            yield Pose(code, model.template.transform, index / FRAMES_PER_SECOND, None)
            index += 1


def encode_frame(model: MultifaceAvatar, entity: Entity, segment: str, frame: str) -> Tensor:
    """(1, z) code of a frame of `entity`, normalised by that entity's own statistics (so expressions carry over).

    Raises:
        UserError: the mesh has another topology than the avatar's.
    """
    statistics = read_statistics(entity)
    count = len(model.template.statistics.vert_mean)
    if len(statistics.vert_mean) != count:
        raise UserError(
            f"has {len(statistics.vert_mean)} vertices, the avatar {count}: expressions carry over between meshes of "
            "one topology only",
            path=entity.root,
        )
    mesh = read_mesh(entity.mesh(segment, frame), count)
    verts = (mesh - statistics.vert_mean) / np.sqrt(statistics.vert_var)
    texture, _ = texture_input(
        read_picture(entity.texture(segment, AVERAGE, frame)),
        statistics.tex_mean[::-1].astype(np.float32),
        float(np.sqrt(statistics.tex_var)),
        model.config.tex_size,
    )
    return model.encode(torch.from_numpy(texture)[None], torch.from_numpy(verts).float()[None])


def turned(record: CameraRecord, transform: NDArray, angle: float) -> NDArray:
    """(4, 4) rotation of head-frame points by `angle` about the camera's vertical through the head's origin."""
    up = (record.extrinsics[:, :3] @ transform[:, :3]).T @ np.array([0.0, -1.0, 0.0])
    up = up / np.linalg.norm(up)
    cross = np.array([[0, -up[2], up[1]], [up[2], 0, -up[0]], [-up[1], up[0], 0]])
    rotation = np.eye(4)
    rotation[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return rotation
