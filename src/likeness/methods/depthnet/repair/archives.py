"""The h5 archives of the repair tasks, and batches of the two domains.

celebA.h5 and vgg.h5 hold uint8 pictures (N, 80, 80, C): src_GT, src_depthNet, tg_GT, src_GT_mask_face (3 channels),
src_depthNet_and_mask (6: the warp, then the background), and src_id, tg_id. celeba_faceswap.h5 holds imgs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from likeness.engine import Batches, permutation, sample
from likeness.engine.batches import share
from likeness.errors import UserError
from likeness.files import atomic_path

SIDE = 80
"""Pictures are 80 x 80."""

PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "background": (("src_depthNet_and_mask",), ("tg_GT",)),
    "faceswap": (("imgs",), ("src_GT", "tg_GT")),
}
"""Arrays that make up domain A and domain B of each task."""


@dataclass(frozen=True)
class RepairBatch:
    """Unpaired pictures of the two domains, in [-1, 1]."""

    a: Tensor = sample()
    """(N, 6 or 3, 80, 80)."""
    b: Tensor = sample()
    """(N, 3, 80, 80)."""


def write_archive(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to an h5 file, gzipped."""
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w") as archive:
            for name, array in arrays.items():
                archive.create_dataset(name, data=array, compression="gzip" if array.ndim == 4 else None)


def read_domains(paths: Sequence[Path], task: str, channels: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Domain A and domain B, uint8 (N, 80, 80, C), gathered over archives.

    Raises:
        UserError: no such file, not h5, pictures of another size, or a domain that no archive fills.
    """
    gathered: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for path in paths:
        try:
            archive = h5py.File(path, "r")
        except FileNotFoundError as error:
            raise UserError("no such archive: make it with `likeness repair data`", path=path) from error
        except OSError as error:
            raise UserError(
                f"is no whole h5 archive ({error}): make it again with `likeness repair data`", path=path
            ) from error
        with archive:
            for domain, names, count in zip(gathered, PARTS[task], channels):
                for name in names:
                    if name in archive:
                        domain.append(_pictures(archive[name], name, count, path))
    for letter, domain, names in zip("AB", gathered, PARTS[task]):
        if not domain:
            raise UserError(
                f"domain {letter} of {task} needs {' or '.join(names)}, found in none of "
                f"{', '.join(map(str, paths))}: name the archives with --data"
            )
    return np.concatenate(gathered[0]), np.concatenate(gathered[1])


def _pictures(dataset: h5py.Dataset, name: str, channels: int, path: Path) -> np.ndarray:
    array = dataset[()]
    if array.ndim != 4 or array.shape[1:] != (SIDE, SIDE, channels) or array.dtype != np.uint8:
        raise UserError(
            f"`{name}` is {array.shape} {array.dtype}, expected (N, {SIDE}, {SIDE}, {channels}) uint8", path=path
        )
    return array


def as_network_input(pictures: np.ndarray) -> Tensor:
    """uint8 (N, H, W, C) as float (N, C, H, W) in [-1, 1]."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


class DomainBatches(Batches[RepairBatch]):
    """Unpaired batches: each domain is shuffled by itself; the shorter one gives the number of batches.

    Of each domain the first int(0.95 N) pictures train and the rest validates.
    """

    def __init__(
        self, a: np.ndarray, b: np.ndarray, batch_size: int, *, train: bool, seed: int, rank: int = 0, world: int = 1
    ):
        cut = [int(0.95 * len(domain)) for domain in (a, b)]
        self.a, self.b = (domain[:at] if train else domain[at:] for domain, at in zip((a, b), cut))
        self.batch_size, self.seed, self.train, self.rank, self.world = batch_size, seed, train, rank, world
        self.set_epoch(1)

    def __len__(self) -> int:
        full, rest = divmod(min(len(self.a), len(self.b)), self.batch_size)
        return full + (rest >= self.world)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.orders = [
            permutation(len(domain), self.seed, number, epoch) if self.train else np.arange(len(domain))
            for number, domain in enumerate((self.a, self.b))
        ]

    def __getitem__(self, position: int) -> RepairBatch:
        shorter = min(len(self.a), len(self.b))
        run = slice(position * self.batch_size, min((position + 1) * self.batch_size, shorter))
        a, b = (
            domain[share(order[run], self.rank, self.world)] for domain, order in zip((self.a, self.b), self.orders)
        )
        return RepairBatch(as_network_input(a), as_network_input(b))
