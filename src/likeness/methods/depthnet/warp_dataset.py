"""`likeness warp DATASET --results DIR`: paint every face of a FaceWarper folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.progress import track

from likeness.errors import UserError
from likeness.media.image import read_uint8, write_image
from likeness.methods.depthnet.facewarper import WarpInput, read_warp_input
from likeness.render.face_warp import FaceWarp, estimate_view_depth, warp_face

IDENTITY = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])


@dataclass(frozen=True)
class WarpConfig:
    """Warp the faces of a folder with source/, keypoints/, depth/ and affine/."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """The folder, as `likeness export depthnet` writes it."""
    results: Path
    """Folder of the warped pictures, <id>.png."""
    identity: bool = False
    """Leave every face where it is: cuts it out of its picture."""
    start_index: int = 0
    """Skip so many ids, in sorted order."""
    img_override: Path | None = None
    """One picture to warp for all ids."""
    use_dir: str = "source"
    """Sub-folder whose file names, without the last extension, are the ids."""
    depth_buffer: bool = False
    """Show the nearest triangle instead of the last painted: for turns beyond about 45 degrees."""
    coverage: Path | None = None
    """Folder that gets a mask <id>.png of where each face was painted, for `likeness overlay --coverage`."""


def warp_dataset(config: WarpConfig) -> None:
    """Write <results>/<id>.png for every id; an id that lacks a file is skipped and listed.

    Raises:
        UserError: no such folder, or a file that cannot be understood.
    """
    if config.start_index < 0:
        raise UserError(f"--start-index counts ids from 0, found {config.start_index}")
    if config.img_override is not None and not config.img_override.is_file():
        raise UserError("no such picture for --img-override", path=config.img_override)
    if not config.dataset.is_dir():
        raise UserError("no such folder: name one that `likeness export depthnet` wrote", path=config.dataset)
    listed = config.dataset / config.use_dir
    if not listed.is_dir():
        raise UserError(
            f"has no folder {config.use_dir}/: name the one that lists the ids with --use-dir", path=config.dataset
        )
    ids = sorted(path.stem for path in listed.iterdir() if path.is_file() and not path.name.startswith("."))
    skipped: list[str] = []
    done = 0
    for name in track(ids[config.start_index :], "warping", transient=True):
        picture = config.img_override or config.dataset / "source" / f"{name}.png"
        members = [config.dataset / part / f"{name}.txt" for part in ("keypoints", "depth", "affine")]
        missing = [path for path in (picture, *members) if not path.is_file()]
        if missing:
            skipped.append(f"skipped {name}: {', '.join(str(path) for path in missing)} absent")
            continue
        face = read_warp_input(*members)
        affine = IDENTITY if config.identity else face.affine
        painted = paint(read_uint8(picture), WarpInput(face.keypoints, face.depth, affine), config.depth_buffer)
        write_warp(config.results / f"{name}.png", painted)
        if config.coverage is not None:
            write_image(config.coverage / f"{name}.png", painted.coverage.astype(np.uint8) * 255, synthetic=True)
        done += 1
    print(f"{config.results}: {done} face{'s' * (done != 1)}")
    for line in skipped:
        print(line)


def paint(picture: np.ndarray, face: WarpInput, depth_buffer: bool = False) -> FaceWarp:
    """The moved face on black."""
    view = estimate_view_depth(face.keypoints, face.depth, face.affine) if depth_buffer else None
    return warp_face(picture, face.keypoints, face.depth, face.affine, view_depth=view)


def write_warp(path: Path, warp: FaceWarp) -> None:
    """Write a warp as the original does: RGBA, alpha 255 everywhere."""
    alpha = np.full((*warp.image.shape[:2], 1), 255, np.uint8)
    write_image(path, np.concatenate([warp.image, alpha], axis=2), synthetic=True)
