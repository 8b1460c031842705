"""`likeness animate depthnet`: turn the face of a photograph, or give it another face's pose."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import track

from likeness.errors import UserError
from likeness.media.image import IMAGE_SUFFIXES, list_images, write_image
from likeness.media.video import write_video
from likeness.methods.depthnet import turning
from likeness.methods.depthnet.photo import Background, FacePhoto, open_photo, warp_photo
from likeness.methods.depthnet.published import load_generator
from likeness.perception.faces import MediaPipeFaces
from likeness.perception.protocols import FaceTracker
from likeness.render.face_warp import estimate_view_depth

RATE = 24
"""Frames a second of the videos."""


@dataclass(frozen=True, kw_only=True)
class AnimateConfig:
    """Turn a face, or repose it after another photograph."""

    source: Path
    """A photograph, or a folder of photographs."""
    out: Path | None = None
    """A video (.mp4), or a picture (.png, .jpg): a strip of the turn, or the reposed face. A folder for a folder.
    Default: `<source>_turned.mp4` or `<source>_as_<target>.png` here."""
    target: Path | None = None
    """A photograph whose pose the face takes; without it the face is turned."""
    run: Path | None = None
    """A run, a checkpoint or a published file; without it, the weights that ship."""
    axis: turning.Axis = "y"
    """Axis of the turn: y shakes the head, x nods, z tilts."""
    angles: tuple[float, float] = (0.785, -0.785)
    """Radians: the turn goes from 0 to the first and on to the second (0.785 is 45 degrees)."""
    turn: Literal["source", "landmarks"] = "source"
    """`source` turns the photograph by its predicted depth (a model trained with a critic); `landmarks` turns the
    landmarks with the tracker's depth and lets the model map the photograph onto them (any model)."""
    pivot: Literal["face", "corner"] = "face"
    """Centre of the turn: the middle of the face, or the square's corner as the original's --rotate_source has it."""
    paste: Literal["source", "target"] = "source"
    """With a target: into which photograph the reposed face is pasted; `target` replaces that face."""
    background: Background = "photo"
    """What surrounds the face."""
    depth_buffer: bool = True
    """Show the nearest triangle; without it triangles are painted in list order, as the original does, and fold visibly
    from about 40 degrees on."""
    face: int | None = None
    """Which face of the source, counted from the left; default: the largest."""
    any_face: bool = False
    """Take whatever looks like a face (paintings, animals)."""
    source_kpts: Path | None = None
    """Landmarks of the source (66 or 68 lines) instead of looking for a face."""
    target_kpts: Path | None = None
    """Landmarks of the target."""
    kpt_file_separator: str = ","
    """What separates the numbers of a landmark file."""


def animate(config: AnimateConfig) -> None:
    """Write the video or picture of every source.

    Raises:
        UserError: no face, or an `out` that does not fit the source.
    """
    generator = load_generator(config.run)
    tracker = None if config.source_kpts is not None else MediaPipeFaces()
    if not config.source.is_dir():
        _animate_one(config, generator, tracker, config.source, config.out or Path(_name(config, config.source)))
        return
    if config.source_kpts is not None:
        raise UserError("--source-kpts holds the landmarks of one picture: name one as --source", path=config.source)
    folder = config.out or Path(f"{config.source.resolve().name}_turned")
    if folder.suffix:
        raise UserError("names a file, but the source is a folder: name a folder", path=folder)
    skipped = []
    photographs = list_images(config.source)
    suffix = ".png" if config.target is not None else ".mp4"
    for path in photographs:
        try:
            _animate_one(config, generator, tracker, path, folder / f"{path.stem}{suffix}")
        except UserError as error:
            skipped.append(str(error))
    if len(skipped) == len(photographs):
        raise UserError(f"not one of {len(photographs)} photographs could be used; {skipped[0]}", path=config.source)
    print(f"{folder}: {len(photographs) - len(skipped)} of {len(photographs)} photographs")
    for line in skipped:
        print(f"skipped {line}")


def turn_frames(
    photo: FacePhoto,
    generator: turning.Generator,
    angles: np.ndarray,
    *,
    axis: turning.Axis = "y",
    turn: Literal["source", "landmarks"] = "source",
    pivot: Literal["face", "corner"] = "face",
    background: Background = "photo",
    depth_buffer: bool = True,
) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 of the photograph's face turned by each of `angles` (N,), radians.

    Raises:
        UserError: `turn` is `landmarks` and the landmarks' depth is not known.
    """
    own, _ = turning.predict(generator, photo.points, photo.points[None])
    depth = own[0] if turn == "source" else photo.depth
    if depth is None:
        raise UserError("turning the landmarks needs their depth: give a third column, or leave out --source-kpts")
    solid = np.concatenate([photo.points, depth[:, None]], axis=1)
    centre = solid.mean(axis=0)
    # Depth along the view comes from the turn itself: a model trained without a critic knows no sign of depth.
    moved = [(solid - centre) @ turning.rotation(axis, angle).T + centre for angle in angles]
    if turn == "source":
        pivots = {"face": centre, "corner": np.zeros(3)}
        moves = [(depth, turning.turn_about(axis, angle, pivots[pivot])) for angle in angles]
    else:
        aims = np.stack([points[:, :2] for points in moved])
        moves = list(zip(*turning.predict(generator, photo.points, aims)))
    for (depths, affine), points in zip(moves, moved):
        view = points[:, 2] if depth_buffer else None
        yield warp_photo(photo, depths, affine, background=background, view_depth=view)


def repose(
    source: FacePhoto,
    target: FacePhoto,
    generator: turning.Generator,
    *,
    onto_target: bool = False,
    background: Background = "photo",
    depth_buffer: bool = True,
) -> np.ndarray:
    """(H, W, 3) uint8: the source's face in the target's pose, in its own photograph or in place of the target's."""
    depth, affine = turning.predict(generator, source.points, target.points[None])
    return warp_photo(
        source,
        depth[0],
        affine[0],
        onto=target if onto_target else None,
        background=background,
        view_depth=estimate_view_depth(source.points, depth[0], affine[0]) if depth_buffer else None,
    )


def strip(frames: list[np.ndarray]) -> np.ndarray:
    """Frames of one size side by side, (H, N W, 3) uint8."""
    return np.concatenate(frames, axis=1)


def _name(config: AnimateConfig, source: Path) -> str:
    return f"{source.stem}_turned.mp4" if config.target is None else f"{source.stem}_as_{config.target.stem}.png"


def _animate_one(
    config: AnimateConfig, generator: turning.Generator, tracker: FaceTracker | None, path: Path, out: Path
) -> None:
    if out.suffix.lower() not in IMAGE_SUFFIXES | {".mp4"}:
        raise UserError(f"cannot write {out.suffix or 'a file without suffix'}: name an .mp4, .png or .jpg", path=out)
    photo = open_photo(path, config.source_kpts, config.kpt_file_separator, config.face, config.any_face, tracker)
    if config.target is not None and out.suffix.lower() == ".mp4":
        raise UserError("a reposed face is a picture: name a .png or .jpg", path=out)
    options = {"background": config.background, "depth_buffer": config.depth_buffer}
    if config.target is not None:
        target = open_photo(
            config.target, config.target_kpts, config.kpt_file_separator, None, config.any_face, tracker
        )
        picture = repose(photo, target, generator, onto_target=config.paste == "target", **options)  # type: ignore[arg-type]
        write_image(out, picture, synthetic=True)
    elif out.suffix.lower() == ".mp4":
        angles = turning.sweep(config.angles)
        if not len(angles):
            raise UserError(f"there is no frame between the angles {config.angles}: they are 0, or closer than 0.01")
        frames = track(_turned(config, photo, generator, angles), path.name, len(angles), transient=True)
        write_video(out, frames, RATE, synthetic=True)
    else:
        shown = np.array([config.angles[1], config.angles[1] / 2, 0.0, config.angles[0] / 2, config.angles[0]])
        write_image(out, strip(list(_turned(config, photo, generator, shown))), synthetic=True)
    print(out)


def _turned(
    config: AnimateConfig, photo: FacePhoto, generator: turning.Generator, angles: np.ndarray
) -> Iterator[np.ndarray]:
    return turn_frames(
        photo,
        generator,
        angles,
        axis=config.axis,
        turn=config.turn,
        pivot=config.pivot,
        background=config.background,
        depth_buffer=config.depth_buffer,
    )
