"""Where batches come from: a pure function of (seed, epoch, position), so that any run can be taken up anywhere."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from likeness.work import begin_worker

B = TypeVar("B")


class Batches(ABC, Generic[B]):
    """One process's batches of one epoch; `batches[i]` depends on the epoch and on `i` alone."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches in an epoch (the virtual length where the data have none)."""

    @abstractmethod
    def __getitem__(self, position: int) -> B:
        """The batch at `position` of the current epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch (counted from 1) the next batches belong to."""
        self.epoch = epoch


class IndexedBatches(Batches[B]):
    """Batches of a data set of `size` items, fetched whole by their indices.

    Each process holds its equal part of every global batch, so that several processes see what one would.

    Args:
        size: number of items.
        batch_size: items in a global batch.
        fetch: (n,) item indices -> batch.
        seed: of the order; None keeps the items in order.
        drop_last: leave out a last batch that is not full.
        rank, world: this process and how many share each batch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        fetch: Callable[[np.ndarray], B],
        *,
        seed: int | None,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ):
        self.size, self.batch_size, self.fetch = size, batch_size, fetch
        self.seed, self.rank, self.world = seed, rank, world
        full, rest = divmod(size, batch_size)
        # A rest smaller than the number of processes cannot give each of them a sample.
        self.length = full + (rest >= world and rest > 0 and not drop_last)
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.order = np.arange(self.size) if self.seed is None else permutation(self.size, self.seed, epoch)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> B:
        chosen = self.order[position * self.batch_size : (position + 1) * self.batch_size]
        return self.fetch(share(chosen, self.rank, self.world))


def permutation(size: int, *key: int) -> np.ndarray:
    """(size,) a shuffled order that depends on `key` (seed, epoch, ...) alone."""
    return np.random.default_rng([abs(part) for part in key]).permutation(size)


def share(indices: np.ndarray, rank: int, world: int) -> np.ndarray:
    """This process's run of `indices`: the parts differ in length by at most one."""
    bounds = [len(indices) * part // world for part in range(world + 1)]
    return indices[bounds[rank] : bounds[rank + 1]]


class _Positions(Dataset):
    def __init__(self, batches: Batches, positions: Sequence[int]):
        self.batches, self.positions = batches, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int):
        return self.batches[self.positions[index]]


def iterate(batches: Batches[B], start: int = 0, workers: int = 0) -> Iterator[B]:
    """Batches from position `start` to the epoch's end, fetched ahead by `workers` processes (0: in this one)."""
    positions = range(start, len(batches))
    if workers == 0:
        yield from (batches[position] for position in positions)
        return
    yield from DataLoader(
        _Positions(batches, positions), batch_size=None, num_workers=workers, worker_init_fn=begin_worker
    )
