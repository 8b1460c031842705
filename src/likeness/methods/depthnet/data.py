"""Typed batches of face pairs from prepared archives."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.capture.faces import synthetic_faces
from likeness.engine import Batches, IndexedBatches, permutation, sample
from likeness.errors import UserError
from likeness.formats.depthnet3dfaw import LandmarkArchive, load_archive

SPLITS = ("train", "valid")
SYNTHETIC_VALID = 2000
SYNTHETIC_SEEDS = {"train": 0, "valid": 1, "test": 2}


@dataclass(frozen=True)
class PairBatch:
    """Pairs of faces; landmarks in units of their picture, depth growing away from the camera.

    AIGN looks at the source alone and shows the target's truth to its critic.
    """

    source_xy: Tensor = sample()  # (N, 66, 2)
    source_depth: Tensor = sample()  # (N, 66), the truth
    target_xy: Tensor = sample()  # (N, 66, 2)
    target_depth: Tensor = sample()  # (N, 66), the truth


class PairBatches(Batches[PairBatch]):
    """Two independent shufflings of one set, zipped, new ones every epoch: a face may meet itself.

    The last batch may be partial. BatchNorm needs two samples in every process: a smaller rest is left out.
    """

    def __init__(self, archive: LandmarkArchive, batch_size: int, *, seed: int, rank: int = 0, world: int = 1):
        size = len(archive)
        if min(size, batch_size) < 2 * world:
            raise UserError(
                f"every one of {world} processes needs 2 faces a batch, found {size} faces and batch size {batch_size}"
            )
        self.xy, self.depth, self.seed = torch.from_numpy(archive.xy), torch.from_numpy(archive.depth), seed
        too_few = size % batch_size < 2 * world
        self.sources = IndexedBatches(
            size, batch_size, self._pair, seed=seed, drop_last=too_few, rank=rank, world=world
        )
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.sources.set_epoch(epoch)
        self.partner = np.empty(len(self.xy), dtype=np.int64)  # source -> target
        self.partner[self.sources.order] = permutation(len(self.xy), self.seed, epoch, 1)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, position: int) -> PairBatch:
        return self.sources[position]

    def _pair(self, chosen: np.ndarray) -> PairBatch:
        source, target = torch.from_numpy(chosen), torch.from_numpy(self.partner[chosen])
        return PairBatch(self.xy[source], self.depth[source], self.xy[target], self.depth[target])


def open_split(folder: Path, split: str) -> LandmarkArchive:
    """The archive `<folder>/<split>.npz`.

    Raises:
        UserError: the folder or the archive is absent or broken.
    """
    if not folder.is_dir():
        raise UserError(
            "no such folder of prepared landmarks: give --data a folder with train.npz and valid.npz (`likeness "
            "prepare depthnet DIR_3DFAW` or `likeness capture depthnet OUT` writes them)",
            path=folder,
        )
    return load_archive(folder / f"{split}.npz")


def synthetic_split(split: str, count: int, seed: int) -> LandmarkArchive:
    """Synthetic faces with exact depths, cut square around their landmarks (side 1.6 x the box, 10 % jitter).

    No face of one split ("train", "valid", "test") is in another. The validation split holds a tenth, 2,000 at most.
    """
    if split == "valid":
        count = min(SYNTHETIC_VALID, max(count // 10, 2))
    faces = synthetic_faces(count, 3 * seed + SYNTHETIC_SEEDS[split])
    xy, depth = faces.normalised()
    return LandmarkArchive(xy, depth, np.arange(count).astype(str), faces.orientations)
