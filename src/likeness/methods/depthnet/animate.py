"""`likeness animate depthnet`: a photograph's face turned in depth, or put in the pose and place of another's.

The photograph is cut to a square around its 66 landmarks, which is what the shipped weights were trained on; landmarks
are normalised and warped in that square, and the result is pasted back with soft borders.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from likeness.errors import UserError
from likeness.geometry.face_landmarks import to_66, to_68
from likeness.media.image import list_images, read_uint8, write_image
from likeness.media.video import VideoWriter
from likeness.methods.depthnet.export import resize_bilinear
from likeness.methods.depthnet.overlay import feather_weights
from likeness.methods.depthnet.published import load_generator
from likeness.methods.depthnet.turning import (
    Axis,
    DepthModel,
    affine_to_pixels,
    match,
    rotated_targets,
    rotation,
    rotation_affine,
    sweep,
)
from likeness.perception.faces import MediaPipeFaces, find_face
from likeness.perception.protocols import Face, FaceTracker
from likeness.render.face_warp import FaceWarp, estimate_view_depth, warp_face

SQUARE = 1.6
"""Side of the square around a face, in larger sides of its landmarks' box."""

FEATHER = 0.02
"""Width of the soft border, in sides of the square."""

Background = Literal["photo", "black"]


@dataclass(frozen=True, kw_only=True)
class AnimateConfig:
    """What `likeness animate depthnet` is told."""

    source: Path
    """The photograph whose face is shown, or a folder of them."""
    target: Path | None = None
    """A photograph (or a folder) whose face gives pose and place; without it the source itself turns."""
    out: Path | None = None
    """The .mp4 (with --target: the picture) to write, or a folder where source or target is one. Default: named after
    the pictures, in the current folder."""
    run: Path | None = None
    """Run, checkpoint or published pickle; default: the weights that ship with the package."""
    axis: Axis = "y"
    """Axis of the turn: x nods, y shakes the head, z tilts it."""
    angles: tuple[float, float] = (0.785, -0.785)
    """Radians: the face turns from 0 to the first, then to the second. 0.785 is 45 degrees."""
    turn: Literal["source", "target"] = "source"
    """Turn the source itself, or turn a copy of it by the tracker's depth and follow that as a target: for networks
    trained without a critic, whose depths have no scale of their own."""
    pivot: Literal["face", "corner"] = "face"
    """Turn about the face's centre, or about the square's top-left corner as the original does."""
    background: Background = "photo"
    """What lies around the turned face."""
    depth_buffer: bool = False
    """Show the nearest triangle at each pixel instead of the one painted last: for large turns."""
    rate: float = 24.0
    """Frames a second."""
    face: int | None = None
    """Which face of the source, counted from the left from 1; default: the largest."""
    any_face: bool = False
    """Take whatever the first detector finds for a face."""


@dataclass(frozen=True)
class Square:
    """A square part of a picture, in whole pixels; it may reach beyond the border."""

    left: int
    top: int
    side: int

    def normalise(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in pixels of the picture -> in units of the square."""
        return (points - (self.left, self.top)) / self.side

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(side, side, 3): the part of `image` (H, W, 3); beyond the border its outermost pixels repeat."""
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, image.shape[1] - 1)
        return image[rows[:, None], columns]

    def paste(self, image: np.ndarray, warp: FaceWarp, background: Background) -> np.ndarray:
        """`image` with the warped face in this square, its border faded in; `black` keeps the face alone."""
        out = image.copy() if background == "photo" else np.zeros_like(image)
        height, width = image.shape[:2]
        rows = slice(max(self.top, 0), min(self.top + self.side, height))
        columns = slice(max(self.left, 0), min(self.left + self.side, width))
        inside = (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )
        weight = feather_weights(warp.coverage, FEATHER * self.side)[inside][..., None]
        out[rows, columns] = np.rint(warp.image[inside] * weight + out[rows, columns] * (1 - weight))
        return out


def square_around(points: np.ndarray) -> Square:
    """The square of side 1.6 times the larger side of the landmarks' box (N, 2), about the box's centre."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(round(SQUARE * float((high - low).max())), 2)
    left, top = np.rint((low + high) / 2 - side / 2).astype(int)
    return Square(int(left), int(top), side)


def turned(
    image: np.ndarray,
    face: Face,
    model: DepthModel,
    angles: np.ndarray,
    *,
    axis: Axis = "y",
    turn: Literal["source", "target"] = "source",
    pivot: Literal["face", "corner"] = "face",
    background: Background = "photo",
    depth_buffer: bool = False,
) -> Iterator[np.ndarray]:
    """Yield the photograph (H, W, 3) uint8 with its face turned by each of `angles` (radians)."""
    square = square_around(face.landmarks_66)
    texture = square.cut(image)
    size = texture.shape[:2]
    xy = square.normalise(face.landmarks_66)
    keypoints = square.normalise(face.landmarks) * square.side
    rotations = np.stack([rotation(axis, float(angle)) for angle in angles])
    if turn == "target":
        solid = np.column_stack([xy - xy.mean(0) + 0.5, to_66(face.points_3d)[:, 2] / square.side])
        # Depth beside x and y in one unit, so that the turned copy is rigid.
        targets = rotated_targets(solid, rotations, size, std=1.0) + xy.mean(0) - 0.5
        found = match(model, xy, targets)
        depths, affines = found.depth, affine_to_pixels(found.affine, size)
    else:
        depth = match(model, xy, xy[None]).depth
        depths = depth.repeat(len(rotations), axis=0)
        centre = np.append(xy.mean(0) * square.side, depth.mean()) if pivot == "face" else None
        affines = np.stack([rotation_affine(matrix, size, 1.0, centre) for matrix in rotations])
    for matrix, depth, affine in zip(rotations, depths, affines):
        depth_68 = to_68(depth[:, None])[:, 0]
        view = None
        if depth_buffer and turn == "source":
            view = np.column_stack([keypoints, depth_68 * square.side]) @ matrix[2]
        elif depth_buffer:
            view = estimate_view_depth(keypoints, depth_68, affine)
        warp = warp_face(texture, keypoints, depth_68, affine, view_depth=view)
        yield square.paste(image, warp, background)


def replaced(
    source: np.ndarray,
    source_face: Face,
    target: np.ndarray,
    target_face: Face,
    model: DepthModel,
    *,
    background: Background = "photo",
    depth_buffer: bool = False,
) -> np.ndarray:
    """The target photograph (H, W, 3) uint8 with the source's face in the target's pose and place."""
    origin, place = square_around(source_face.landmarks_66), square_around(target_face.landmarks_66)
    found = match(model, origin.normalise(source_face.landmarks_66), place.normalise(target_face.landmarks_66)[None])
    size = (place.side, place.side)
    texture = resize_bilinear(origin.cut(source), size)
    keypoints = origin.normalise(source_face.landmarks) * place.side
    depth, affine = to_68(found.depth[0][:, None])[:, 0], affine_to_pixels(found.affine[0], size)
    view = estimate_view_depth(keypoints, depth, affine) if depth_buffer else None
    return place.paste(target, warp_face(texture, keypoints, depth, affine, view_depth=view), background)


def animate(config: AnimateConfig) -> None:
    """Turn the face of every source photograph (or put it onto every target) and write a video (a picture) each.

    Raises:
        UserError: no face in the only picture, or in any of a folder; no frames between the angles.
    """
    model = load_generator(config.run)
    tracker = MediaPipeFaces()
    sources = list_images(config.source) if config.source.is_dir() else [config.source]
    targets: list[Path | None] = [config.target]
    if config.target is not None and config.target.is_dir():
        targets = list(list_images(config.target))
    many = config.source.is_dir() or (config.target is not None and config.target.is_dir())
    jobs = [(source, target) for source in sources for target in targets]
    done = 0
    for source, target in jobs:
        name = f"{source.stem}_turned.mp4" if target is None else f"{source.stem}_as_{target.stem}.png"
        out = (config.out or Path()) / name if many else config.out or Path(name)
        try:
            _one(config, model, tracker, source, target, out)
        except UserError as error:
            if not many:
                raise
            print(f"left out: {error}")
            continue
        done += 1
        print(out)
    if not done:
        raise UserError("not one picture has a face that can be used", path=config.source)
    if many:
        print(f"{done} of {len(jobs)} done")


def _one(
    config: AnimateConfig, model: DepthModel, tracker: FaceTracker, source: Path, target: Path | None, out: Path
) -> None:
    image = read_uint8(source)
    face = find_face(image, face=config.face, any_face=config.any_face, tracker=tracker, path=source)
    if target is not None:
        other = read_uint8(target)
        goal = find_face(other, any_face=config.any_face, tracker=tracker, path=target)
        picture = replaced(
            image, face, other, goal, model, background=config.background, depth_buffer=config.depth_buffer
        )
        write_image(out, picture, synthetic=True)
        return
    angles = sweep(*config.angles)
    if not len(angles):
        raise UserError(f"there is no frame between the angles {config.angles}: they are 0, or closer than 0.01")
    frames = turned(
        image,
        face,
        model,
        angles,
        axis=config.axis,
        turn=config.turn,
        pivot=config.pivot,
        background=config.background,
        depth_buffer=config.depth_buffer,
    )
    with VideoWriter(out, config.rate, synthetic=True) as video:
        for frame in frames:
            video.write(frame)
