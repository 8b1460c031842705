"""Exponential moving averages of networks."""

import copy
from collections.abc import Mapping

import torch
from torch import nn

from likeness.engine.specs import AverageSpec


class Averages:
    """The averaged copies that a stage declares."""

    def __init__(self, networks: Mapping[str, nn.Module], specs: Mapping[str, AverageSpec]):
        self.sources, self.specs = dict(networks), dict(specs)
        self.networks = {name: copy.deepcopy(networks[spec.of]).requires_grad_(False) for name, spec in specs.items()}
        self.refreshes = dict.fromkeys(specs, 0)

    @torch.no_grad()
    def refresh(self, event: str) -> None:
        """Refresh the averages that follow `event` (`step` or the name of an update)."""
        for name, spec in self.specs.items():
            if spec.after != event:
                continue
            self.refreshes[name] += 1
            decay = spec.decay(self.refreshes[name])
            source, average = self.sources[spec.of], self.networks[name]
            torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), 1 - decay)
            if spec.buffers == "copy":
                for new_buffer, old_buffer in zip(source.buffers(), average.buffers()):
                    old_buffer.copy_(new_buffer)
