"""What a step may do: update, draw noise, log, split, reject."""

import zlib
from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from likeness.engine import batch as batches_
from likeness.engine.averages import Averages
from likeness.engine.updates import Updates
from likeness.nets.distributed import all_mean

B = TypeVar("B")


def noise_seed(*key: int | str) -> int:
    """A 63-bit seed that depends on `key` alone."""
    return int.from_bytes(
        b"".join(zlib.crc32(f"{salt}/{key}".encode()).to_bytes(4, "big") for salt in (0, 1)), "big"
    ) & (2**63 - 1)


class Context:
    """The engine as a stage sees it.

    `epoch` counts from 1, `position` is the batch's place in the epoch, `update_count` the accepted steps before
    this one.
    """

    def __init__(
        self,
        updates: Updates,
        averages: Averages,
        *,
        seed: int,
        splits: int,
        device: torch.device,
        rank: int,
        world: int,
    ):
        self.updates, self._averages = updates, averages
        self.seed, self._splits, self.device, self.rank, self.world = seed, splits, device, rank, world
        self.epoch, self.position, self.update_count = 1, 0, 0
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.latest: dict[str, Tensor] = {}
        self.rejections: dict[str, int] = {}
        self._pending: list[tuple[str, Tensor]] = []
        self._rejected = False
        self._share = 1.0
        self._part = 1.0

    def update(self, name: str, terms: Mapping[str, Tensor]) -> None:
        """Backward the weighted sum of `terms` into the parameters of update `name`, and step it."""
        self.backward(name, terms)
        self.apply(name)

    def backward(self, name: str, terms: Mapping[str, Tensor], *, retain_graph: bool = False) -> None:
        """Accumulate the gradient of the weighted sum of `terms`; inside `splits` it is scaled by the part's share."""
        self.updates.backward(name, terms, scale=self._share * self._part, retain_graph=retain_graph)
        for term, value in terms.items():
            self.log(term, value)

    def apply(self, name: str) -> None:
        """Reduce over processes, clip and step what `backward` accumulated for update `name`."""
        norm = self.updates.apply(name, self.update_count, self.epoch - 1)
        if norm is not None:
            self.log(f"gradient_norm/{name}", norm)
        self._averages.refresh(name)

    def splits(self, batch: B) -> Iterator[B]:
        """The parts of `batch` (config `splits`); a backward inside the loop is weighted by the part's share."""
        total = batches_.count(batch)
        try:
            for part in batches_.split(batch, self._splits):
                self._part = batches_.count(part) / total
                yield part
        finally:
            self._part = 1.0

    def reject(self, reason: str) -> None:
        """Drop this batch: it is counted under `reason`, its logs are forgotten and the step number stays."""
        self._rejected = True
        self.rejections[reason] = self.rejections.get(reason, 0) + 1

    def log(self, name: str, value: Tensor | float) -> None:
        """Log a scalar of this step; its mean over the epoch is reported. Values in parts and repeats are averaged."""
        scalar = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value))
        self._pending.append((name, scalar))

    def generator(self, name: str) -> torch.Generator:
        """A generator on the step's device whose stream depends on (seed, name, epoch, position, rank) alone."""
        generator = torch.Generator(self.device)
        generator.manual_seed(noise_seed(self.seed, name, self.epoch, self.position, self.rank))
        return generator

    def average(self, name: str) -> nn.Module:
        """The averaged network `name`."""
        return self._averages.networks[name]

    def place(self, batch: B) -> B:
        """`batch` on the step's device."""
        return batches_.to_device(batch, self.device)

    def all_mean(self, values: Tensor) -> Tensor:
        """() mean over every element in every process, differentiable."""
        return all_mean(values)

    def mean(self, value: Tensor) -> Tensor:
        """() mean of one scalar per process, without gradient."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
            value /= self.world
        return value

    def begin(self, epoch: int, position: int, batch: object) -> None:
        """Engine: a step starts. Seeds torch's global streams from (seed, epoch, position, rank)."""
        self.epoch, self.position = epoch, position
        self._pending, self._rejected = [], False
        torch.manual_seed(noise_seed(self.seed, "step", epoch, position, self.rank))
        if self.world > 1:
            local = torch.tensor(float(batches_.count(batch)), device=self.device)
            total = local.clone()
            dist.all_reduce(total)
            self._share = float(local * self.world / total)

    def finish(self) -> bool:
        """Engine: a step ends. Returns whether it was accepted."""
        if self._rejected:
            return False
        grouped: dict[str, list[Tensor]] = {}
        for name, value in self._pending:
            grouped.setdefault(name, []).append(value)
        for name, values in grouped.items():
            value = values[0] if len(values) == 1 else torch.stack([entry.float() for entry in values]).mean()
            self.latest[name] = value
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1
        self._averages.refresh("step")
        self.update_count += 1
        return True

    def epoch_means(self) -> dict[str, float]:
        """Engine: means of what the epoch's accepted steps logged, over processes too."""
        return {name: float(self.mean(total.float() / self.counts[name])) for name, total in self.sums.items()}

    def forget_epoch(self) -> None:
        """Engine: a new epoch's means start from nothing."""
        self.sums, self.counts = {}, {}
