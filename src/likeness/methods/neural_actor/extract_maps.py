"""`likeness extract normals` and `likeness extract textures`: the maps that the texture predictor and renderer read."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from likeness.errors import UserError
from likeness.formats.actor import ActorCamera, ActorFrame, read_body, read_cameras, read_frames, read_transform
from likeness.geometry.body import BodyModel, posed_vertices
from likeness.media.image import write_image
from likeness.media.synthetic import is_marked_synthetic
from likeness.methods.neural_actor.config import parse_views
from likeness.methods.neural_actor.data import read_rgba
from likeness.methods.neural_actor.maps import Layout, layout, normal_map, texture_map
from likeness.work import run_all

Folder = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class MapJob:
    """One map of one frame."""

    kind: Literal["normal", "tex"]
    data: Path
    frame: ActorFrame
    path: Path
    size: int
    views: tuple[int, ...] = ()
    """Cameras that a texture is unwrapped from."""


def extract_normals(data: Folder, out: Path | None = None, size: int = 512, workers: int = 1) -> None:
    """Write OUT/normal/<frame>.png: the posed body's normals in texture space, channels z, y, x as published.

    Args:
        data: the actor's folder: body and transform/.
        out: folder that gets normal/; by default `data`.
        size: side of the maps.
        workers: processes that share the frames.
    """
    _extract("normal", data, out or data, size, workers)


def extract_textures(
    data: Folder, out: Path | None = None, size: int = 512, workers: int = 1, views: str | None = None
) -> None:
    """Write OUT/tex/<frame>.png: the texture of each frame, unwrapped from all its pictures.

    Args:
        data: the actor's folder: body, cameras, transform/ and rgb/ (before white, or with alpha).
        out: folder that gets tex/; by default `data`.
        size: side of the maps.
        workers: processes that share the frames.
        views: cameras to unwrap from, as `0..5` or `0,2,3`; by default all.
    """
    cameras = read_cameras(data)
    chosen = tuple(range(len(cameras)) if views is None else parse_views(views, "views"))
    if max(chosen) >= len(cameras):
        raise UserError(f"view {max(chosen)} is asked for, there are {len(cameras)} cameras", path=data)
    for frame in read_frames(data, maps=False):
        if not frame.pictures or len(frame.pictures) != len(cameras):
            raise UserError(
                f"holds {len(frame.pictures)} pictures, the folder {len(cameras)} cameras: one a camera",
                path=data / "rgb" / frame.transform.stem,
            )
    _extract("tex", data, out or data, size, workers, chosen)


def _extract(
    kind: Literal["normal", "tex"], data: Path, out: Path, size: int, workers: int, views: tuple[int, ...] = ()
) -> None:
    read_body(data)
    frames = read_frames(data, maps=False)
    jobs = [MapJob(kind, data, frame, out / kind / f"{frame.transform.stem}.png", size, views) for frame in frames]
    strangers = {path for path in (out / kind).glob("*.*g")} - {job.path for job in jobs}
    if strangers:
        raise UserError(
            f"holds pictures of other names, such as {min(strangers).name}: maps belong to transforms by their order, "
            "so that these would mix; remove them or give --out",
            path=out / kind,
        )
    missing = [job for job in jobs if not job.path.is_file()]
    run_all(write_map, missing, workers, f"{kind} maps")
    print(f"{out / kind}: {len(missing)} maps of {size} x {size} written, {len(jobs) - len(missing)} were there")


def write_map(job: MapJob) -> None:
    """Write one map: a pure function of the job."""
    body, cameras, where = _actor(job.data, job.size)
    vertices = posed_vertices(body, read_transform(job.frame.transform))
    if job.kind == "normal":
        write_image(job.path, normal_map(vertices, body.faces, where), synthetic=True)
        return
    views = [(read_rgba(job.frame.pictures[view]), cameras[view]) for view in job.views]
    texture = texture_map(vertices, body.faces, where, views)
    if not texture.known.any():
        raise UserError(
            "no camera sees the body: its projection meets no pixel of any picture that is not white. Look at it with "
            "`likeness check neural_actor`",
            path=job.frame.transform,
        )
    write_image(job.path, texture.image, synthetic=all(is_marked_synthetic(path) for path in job.frame.pictures))


@functools.lru_cache(maxsize=1)
def _actor(data: Path, size: int) -> tuple[BodyModel, list[ActorCamera], Layout]:
    body = read_body(data)
    cameras = read_cameras(data) if (data / "rgb").is_dir() else []
    return body, cameras, layout(body.face_uv, size)
