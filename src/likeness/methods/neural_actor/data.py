"""Frames, views and rays of an actor's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likeness.engine import Batches, permutation, sample, shared
from likeness.errors import UserError
from likeness.formats.actor import ActorCamera, ActorFrame, read_cameras, read_frames, read_transform
from likeness.geometry.body import Pose
from likeness.media.image import read_image
from likeness.methods.neural_actor.rays import camera_rays, pixel_grid


@dataclass(frozen=True)
class ActorBatch:
    """One frame seen by V cameras, at P pixels each in raster order."""

    frame: Tensor = sample()
    """(V,) number of the frame."""
    view: Tensor = sample()
    """(V,) number of the camera."""
    origins: Tensor = sample()
    """(V, 3) metres."""
    directions: Tensor = sample()
    """(V, P, 3) unit length."""
    target: Tensor = sample()
    """(V, P, 3) colours in [-1, 1] over the background."""
    alpha: Tensor = sample()
    """(V, P) how much of the pixel the actor covers, in [0, 1]."""
    pose: Pose = shared()
    texture: Tensor = shared()
    """(1, 3, Ht, Wt) in [0, 1]."""
    size: Tensor = shared()
    """(2,) height and width of the pictures as loaded."""


class ActorFolder:
    """The files of one actor, with pictures and rays at one size.

    Raises:
        UserError: a picture, texture or camera is absent.
    """

    def __init__(self, folder: Path, resolution: tuple[int, int], background: Sequence[float]):
        self.folder, self.resolution = folder, resolution
        self.background = np.asarray(background, dtype=np.float32)
        self.frames: list[ActorFrame] = read_frames(folder)
        self.cameras: list[ActorCamera] = read_cameras(folder)

    def require(self, frames: Sequence[int], views: Sequence[int]) -> None:
        """Check before hours are spent that every frame and view asked for is there."""
        for index in frames:
            frame = self.frames[index]
            if frame.texture is None:
                raise UserError("holds no texture maps: expected tex/*.png, one a transform", path=self.folder)
            if max(views) >= min(len(frame.pictures), len(self.cameras)):
                raise UserError(
                    f"frame {frame.transform.stem} has {len(frame.pictures)} pictures and the folder "
                    f"{len(self.cameras)} cameras, but view {max(views)} is asked for",
                    path=self.folder / "rgb" / frame.transform.stem,
                )

    def batch(self, frame_index: int, views: Sequence[int]) -> ActorBatch:
        """All pixels of `views` of one frame."""
        frame = self.frames[frame_index]
        seen = (self._view(frame.pictures[view], self.cameras[view]) for view in views)
        origins, directions, targets, alphas = zip(*seen)
        assert frame.texture is not None
        return ActorBatch(
            frame=torch.full((len(views),), frame_index),
            view=torch.tensor(list(views)),
            origins=torch.stack(origins),
            directions=torch.stack(directions),
            target=torch.stack(targets),
            alpha=torch.stack(alphas),
            pose=read_transform(frame.transform),
            texture=read_image(frame.texture).unsqueeze(0),
            size=torch.tensor(self.resolution),
        )

    def _view(self, path: Path, camera: ActorCamera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        picture = read_rgba(path)
        height, width = self.resolution
        grid = pixel_grid(height, width, picture.shape[:2])
        origin, directions = camera_rays(camera.intrinsics, camera.camera_to_world, grid)
        color, alpha = over_background(picture, self.resolution, self.background)
        return origin, directions, torch.from_numpy(color), torch.from_numpy(alpha)


def read_rgba(path: Path) -> np.ndarray:
    """(H, W, 4) float32 in [0, 1]; a picture without alpha is opaque."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255
    except (OSError, ValueError) as error:
        raise UserError(f"is no whole picture: {error}", path=path) from error


def over_background(
    picture: np.ndarray, size: tuple[int, int], background: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H W, 3) in [-1, 1] and alpha (H W,) of an RGBA picture (h, w, 4) in [0, 1], resized by area to `size`.

    Alpha is 0 where the colour equals the background exactly.
    """
    if picture.shape[:2] != size:
        picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    color = picture[..., :3] * 2 - 1
    alpha = picture[..., 3:] * ~(color == background).all(-1, keepdims=True)
    over = color * alpha + background * (1 - alpha)
    return over.reshape(-1, 3).astype(np.float32), alpha.reshape(-1).astype(np.float32)


class TrainingFrames(Batches[ActorBatch]):
    """An endless walk over frames, cut into virtual epochs.

    Frames are shuffled anew in every pass; a frame's views come from a shuffled bag without replacement.
    """

    def __init__(
        self,
        folder: ActorFolder,
        frames: Sequence[int],
        views: Sequence[int],
        *,
        steps: int,
        views_per_batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        folder.require(frames, views)
        self.folder, self.frames, self.views = folder, list(frames), list(views)
        self.steps, self.views_per_batch, self.seed = steps, views_per_batch, seed
        self.rank, self.world = rank, world
        self.set_epoch(1)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> ActorBatch:
        drawn = (self.epoch - 1) * self.steps * self.world + position * self.world + self.rank
        turn, index = divmod(drawn, len(self.frames))
        frame = self.frames[permutation(len(self.frames), self.seed, 1, turn)[index]]
        first = drawn * self.views_per_batch
        views = [self._bag(first + offset) for offset in range(self.views_per_batch)]
        return self.folder.batch(frame, views)

    def _bag(self, drawn: int) -> int:
        turn, index = divmod(drawn, len(self.views))
        return self.views[permutation(len(self.views), self.seed, 2, turn)[index]]


class ValidationFrames(Batches[ActorBatch]):
    """Every (frame, view) pair, in order."""

    def __init__(self, folder: ActorFolder, frames: Sequence[int], views: Sequence[int], rank: int = 0, world: int = 1):
        folder.require(frames, views)
        pairs = [(frame, view) for frame in frames for view in views]
        self.folder, self.pairs = folder, pairs[rank : len(pairs) - len(pairs) % world : world]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, position: int) -> ActorBatch:
        frame, view = self.pairs[position]
        return self.folder.batch(frame, [view])
