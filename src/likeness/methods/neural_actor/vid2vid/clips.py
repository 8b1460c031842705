"""Clips of normal maps and texture maps to learn from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.engine import Batches, sample
from likeness.errors import UserError
from likeness.media.image import read_image

LABELS_AND_IMAGES = (("normal", "tex"), ("seg_maps", "images"))
"""Folders of normal maps and texture maps: the actor's own, and the links that the published trainer wants."""


@dataclass(frozen=True)
class ClipBatch:
    """Successive frames of one sequence, oldest first, in [-1, 1]."""

    labels: Tensor = sample()
    """(N, T, 3, S, S) normal maps."""
    images: Tensor = sample()
    """(N, T, 3, S, S) texture maps."""


def read_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(normal map, texture map) of each frame, from `normal/` and `tex/`, or `seg_maps/` and `images/`.

    Raises:
        UserError: neither pair of folders is there, or they hold different numbers of pictures.
    """
    for label, image in LABELS_AND_IMAGES:
        if (folder / label).is_dir() and (folder / image).is_dir():
            labels, images = (sorted((folder / name).glob("*.*g")) for name in (label, image))
            if len(labels) != len(images) or not labels:
                raise UserError(
                    f"holds {len(labels)} pictures in {label}/ and {len(images)} in {image}/: one of each a frame",
                    path=folder,
                )
            return list(zip(labels, images))
    raise UserError("holds neither normal/ and tex/ nor seg_maps/ and images/", path=folder)


def mean_picture(pairs: list[tuple[Path, Path]], size: int) -> Tensor:
    """(3, size, size) the mean of all pictures, in [-1, 1]."""
    total = torch.zeros(3, size, size)
    for _, path in pairs:
        total = total + crop_picture(read_image(path), size, size, np.zeros(2))
    return total / len(pairs)


def clip_length(epoch: int, first: int, largest: int) -> int:
    """Frames of a clip in `epoch` (counted from 1): doubled every epoch up to `largest`."""
    return min(first * 2 ** min(epoch - 1, 30), largest)


class Clips(Batches[ClipBatch]):
    """Clips that start anywhere in the one sequence; an epoch starts as many as there are frames.

    Args:
        pairs: of `read_pairs`.
        size: side of the pictures.
        batch_size: clips in a global batch.
        first, largest: see `clip_length`; no clip is longer than the sequence.
        largest_scale: of the random enlargement before the crop.
        seed: of starts and crops.
        rank, world: this process and how many share each batch.
    """

    def __init__(
        self,
        pairs: list[tuple[Path, Path]],
        size: int,
        *,
        batch_size: int,
        first: int,
        largest: int,
        largest_scale: float,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        self.pairs, self.size, self.batch_size, self.first, self.largest = pairs, size, batch_size, first, largest
        self.largest_scale, self.seed, self.rank, self.world = largest_scale, seed, rank, world
        self.set_epoch(1)

    def __len__(self) -> int:
        return max(len(self.pairs) // self.batch_size, 1)

    def __getitem__(self, position: int) -> ClipBatch:
        places = range(self.batch_size * self.rank // self.world, self.batch_size * (self.rank + 1) // self.world)
        clips = [self._clip(position, place) for place in places]
        labels, images = zip(*clips)
        return ClipBatch(torch.stack(labels), torch.stack(images))

    def _clip(self, position: int, place: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng([abs(self.seed), self.epoch, position, place])
        length = min(clip_length(self.epoch, self.first, self.largest), len(self.pairs))
        start = int(random.integers(len(self.pairs) - length + 1))
        side = round(self.size * random.uniform(1, self.largest_scale))
        corner = random.uniform(size=2)
        frames = [
            [crop_picture(read_image(path), side, self.size, corner) for path in pair]
            for pair in self.pairs[start : start + length]
        ]
        labels, images = zip(*frames)
        return torch.stack(labels), torch.stack(images)


def crop_picture(picture: Tensor, side: int, size: int, corner: np.ndarray) -> Tensor:
    """Picture (3, H, W) in [0, 1] -> (3, size, size) in [-1, 1].

    Its shorter side becomes `side` (bilinear); `corner` (2,) in [0, 1] places the crop from top left to bottom right.
    """
    scale = side / min(picture.shape[-2:])
    resized = (max(side, round(length * scale)) for length in picture.shape[-2:])
    picture = F.interpolate(picture[None], tuple(resized), mode="bilinear", align_corners=False)[0]
    top, left = (int(part * (length - size + 1 - 1e-6)) for part, length in zip(corner, picture.shape[-2:]))
    return picture[:, top : top + size, left : left + size] * 2 - 1
