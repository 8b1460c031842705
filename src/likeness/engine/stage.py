"""What the engine knows of a method: networks, optimisers, batches, one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from likeness.engine.batches import Batches, iterate
from likeness.engine.config import EngineConfig
from likeness.engine.specs import AverageSpec, OptimizerSpec, UpdateSpec

if TYPE_CHECKING:
    from likeness.engine.context import Context
    from likeness.engine.run import Run

C = TypeVar("C", bound=EngineConfig)
B = TypeVar("B")


@dataclass(frozen=True)
class EpochReport:
    """What one finished epoch measured."""

    epoch: int
    """Counted from 1."""
    update: int
    """Accepted steps so far."""
    train: dict[str, float]
    """Means over the epoch's accepted steps."""
    valid: dict[str, float]
    """What `Stage.validate` returned; empty when the epoch was not validated."""
    rates: dict[str, float]
    """Optimiser -> learning rate."""
    seconds: float
    """Wall time of the epoch, validation included."""


class Stage(ABC, Generic[C, B]):
    """One trainable stage of a method.

    A stage builds its networks in its constructor (the engine has seeded torch) and keeps no other state than typed
    counters that its `state_dict` returns.
    """

    networks: dict[str, nn.Module]
    """Each is checkpointed under its name."""
    best: tuple[str, Literal["min", "max"]] | None = None
    """The validation measure whose best epoch is kept, and which way is better."""
    parents: tuple[str, ...] = ()
    """Runs or files that this stage starts from."""

    def __init__(self, config: C):
        self.config = config

    @abstractmethod
    def optimizers(self) -> dict[str, OptimizerSpec]:
        """The optimisers by name."""

    def updates(self) -> dict[str, UpdateSpec]:
        """The named updates; by default one for each optimiser, under its name."""
        return {name: UpdateSpec(optimizers=(name,)) for name in self.optimizers()}

    def averages(self) -> dict[str, AverageSpec]:
        """Averaged copies of networks, by the name under which they are checkpointed."""
        return {}

    @abstractmethod
    def batches(self, split: str, rank: int, world: int) -> Batches[B] | None:
        """This process's batches of `split` ("train", "valid"); None where the stage has no such split."""

    @abstractmethod
    def step(self, batch: B, ctx: Context) -> None:
        """One training step: forwards and named updates, in the method's own order."""

    def initialise(self, ctx: Context) -> None:
        """Called once on a fresh start, before averages are copied: load what the stage starts from."""

    def measure(self, batch: B, ctx: Context) -> dict[str, Tensor]:
        """() measures of one validation batch; called in evaluation mode without gradients."""
        return {}

    def validate(self, ctx: Context) -> dict[str, float]:
        """Measures of the "valid" split: by default the plain mean of `measure` over its batches."""
        batches = self.batches("valid", ctx.rank, ctx.world)
        if batches is None:
            return {}
        batches.set_epoch(ctx.epoch)
        totals: dict[str, Tensor] = {}
        with evaluating(self.networks), torch.no_grad():
            for batch in iterate(batches, workers=self.config.workers):
                for name, value in self.measure(ctx.place(batch), ctx).items():
                    totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value.detach()
        return {name: float(ctx.mean(total / len(batches))) for name, total in totals.items()}

    def visuals(self, batch: B, ctx: Context) -> dict[str, Tensor]:
        """Name -> (3, H, W) picture in [0, 1] of a batch; called in evaluation mode without gradients."""
        return {}

    def epoch_end(self, report: EpochReport, run: Run) -> None:
        """Write what the method adds to a run's files; only the first process calls it."""

    def state_dict(self) -> dict[str, Any]:
        """The stage's own counters (scalars and tensors)."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""


class evaluating:
    """Context in which modules are in evaluation mode; each module's own mode returns afterwards."""

    def __init__(self, networks: dict[str, nn.Module]):
        self.modules = [module for network in networks.values() for module in network.modules()]

    def __enter__(self) -> None:
        self.modes = [module.training for module in self.modules]
        for module in self.modules:
            module.training = False

    def __exit__(self, *unused: object) -> None:
        for module, mode in zip(self.modules, self.modes):
            module.training = mode
