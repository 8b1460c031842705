"""`likeness warp`: every face of a FaceWarper folder, without a display."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image, PngImagePlugin

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.formats.facewarper import WarpFiles, iterate_warps, read_affine, read_depth, read_keypoints
from likeness.media.image import read_uint8
from likeness.media.synthetic import SYNTHETIC_NOTE, XMP
from likeness.render.face_warp import FaceWarp, estimate_view_depth, warp_face

IDENTITY = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
"""The affine that leaves every landmark where it is."""


@dataclass(frozen=True, kw_only=True)
class WarpConfig:
    """What `likeness warp` is told."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder with source, keypoints, depth and affine."""
    results: Path
    """Folder that gets one PNG for every id; made where it is absent."""
    identity: bool = False
    """Cut the faces out where they are, whatever the affine files say (these need not exist)."""
    start_index: int = 0
    """Leave out so many ids at the start of the sorted list."""
    img_override: Path | None = None
    """Take this one picture for all ids."""
    use_dir: str = "source"
    """Folder of the dataset whose file names are the ids."""
    depth_buffer: bool = False
    """Show the nearest triangle at each pixel instead of the one painted last: for large turns."""


def warp_files(files: WarpFiles, identity: bool = False, depth_buffer: bool = False) -> FaceWarp:
    """Read the four files and warp.

    Raises:
        UserError: one of them is absent or broken.
    """
    keypoints, depth = read_keypoints(files.keypoints), read_depth(files.depth)
    affine = IDENTITY if identity else read_affine(files.affine)
    view_depth = estimate_view_depth(keypoints, depth, affine) if depth_buffer else None
    return warp_face(read_uint8(files.image, background=0.0), keypoints, depth, affine, view_depth=view_depth)


def write_warp(path: str | Path, warp: FaceWarp) -> None:
    """Write a warp as the original does, RGBA with alpha 255 everywhere, and the note that it is synthetic."""
    opaque = np.full((*warp.image.shape[:2], 1), 255, np.uint8)
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", SYNTHETIC_NOTE)
    note.add_itxt("XML:com.adobe.xmp", XMP)
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate([warp.image, opaque], axis=2)).save(temporary, "PNG", pnginfo=note)


def warp_dataset(config: WarpConfig) -> None:
    """Warp every face of DATASET and write RESULTS/<id>.png; an id that lacks a file is told and left out."""
    if config.start_index < 0:
        raise UserError(f"--start-index counts ids from 0, found {config.start_index}")
    if config.img_override is not None and not config.img_override.is_file():
        raise UserError("no such picture for --img-override", path=config.img_override)
    left_out = written = 0
    entries = list(iterate_warps(config.dataset, config.use_dir, config.img_override))[config.start_index :]
    for name, files in entries:
        missing = [path for path in files.missing() if not (config.identity and path == files.affine)]
        if missing:
            print(f"{name}: left out, there is no {', '.join(map(str, missing))}")
            left_out += 1
            continue
        write_warp(config.results / f"{name}.png", warp_files(files, config.identity, config.depth_buffer))
        written += 1
    print(f"{config.results}: {written} pictures" + (f", {left_out} ids left out" if left_out else ""))
