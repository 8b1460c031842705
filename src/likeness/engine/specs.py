"""What a stage declares of its optimisers, its named updates and its averaged networks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class OptimizerSpec:
    """One optimiser: over whole networks by name, or over `parameters` given outright."""

    factory: Callable[[Iterable[nn.Parameter]], Optimizer]
    """Parameters that require a gradient -> optimiser; its learning rate is the base of the schedule."""
    networks: Sequence[str] = ()
    """Names of networks whose trainable parameters it steps."""
    parameters: Sequence[nn.Parameter] = ()
    """Further parameters."""
    schedule: Callable[[int], float] | None = None
    """Finished updates, or finished epochs -> factor on the base learning rate; None keeps it constant."""
    per: Literal["update", "epoch"] = "update"
    """What `schedule` counts."""


@dataclass(frozen=True)
class UpdateSpec:
    """One named update: the terms it sums and the optimisers that it steps together."""

    optimizers: Sequence[str]
    """Optimisers stepped, in order, after one joint backward and clip; gradients reach their parameters only."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Term -> weight in the sum; a term that is not named weighs 1."""
    clip_norm: float | None = None
    """Largest joint gradient norm over all its parameters."""


@dataclass(frozen=True)
class AverageSpec:
    """An exponential moving average of a network's parameters, itself a named network of the run."""

    of: str
    """The network that is averaged."""
    decay: Callable[[int], float]
    """k-th refresh (from 1) -> share of the old average that stays; 0 copies."""
    after: str = "step"
    """`step` refreshes once an accepted step, the name of an update refreshes after each such update."""
    buffers: Literal["keep", "copy"] = "keep"
    """What becomes of buffers: those of the start stay, or the network's are copied at each refresh."""
