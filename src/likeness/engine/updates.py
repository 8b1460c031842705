"""Backward, reduction over processes, clipping and stepping of named updates."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from likeness.engine.specs import OptimizerSpec, UpdateSpec
from likeness.errors import UserError
from likeness.nets.distributed import world_size


class Updates:
    """The optimisers of some networks and the updates that step them.

    The training loop owns one; test-time fitting builds another over copies of the networks.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, OptimizerSpec],
        updates: Mapping[str, UpdateSpec],
    ):
        self.specs, self.updates = dict(optimizers), dict(updates)
        self.parameters: dict[str, list[nn.Parameter]] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.base_rates: dict[str, list[float]] = {}
        for name, spec in self.specs.items():
            chosen = [parameter for network in spec.networks for parameter in networks[network].parameters()]
            trainable = [parameter for parameter in [*chosen, *spec.parameters] if parameter.requires_grad]
            self.parameters[name] = trainable
            try:
                self.optimizers[name] = spec.factory(trainable)
            except ValueError as error:
                raise UserError(f"the optimiser of {name} cannot work so: {error}") from error
            self.base_rates[name] = [group["lr"] for group in self.optimizers[name].param_groups]
        for name, update in self.updates.items():
            unknown = set(update.optimizers) - set(self.specs)
            if unknown:
                raise KeyError(f"update {name!r} names unknown optimisers {sorted(unknown)}")

    def parameters_of(self, update: str) -> list[nn.Parameter]:
        """The parameters that `update` steps."""
        return [parameter for name in self.updates[update].optimizers for parameter in self.parameters[name]]

    def total(self, update: str, terms: Mapping[str, Tensor]) -> Tensor:
        """() the weighted sum of `terms`."""
        weights = self.updates[update].weights
        return sum(weights.get(name, 1.0) * term for name, term in terms.items())  # type: ignore[return-value]

    def backward(
        self, update: str, terms: Mapping[str, Tensor], scale: float = 1.0, retain_graph: bool = False
    ) -> None:
        """Accumulate `scale` times the gradient of the weighted sum in the parameters of `update`, and nowhere else."""
        loss = self.total(update, terms)
        parameters = self.parameters_of(update)
        if parameters:
            (loss if scale == 1.0 else loss * scale).backward(inputs=parameters, retain_graph=retain_graph)

    def apply(self, update: str, finished_updates: int, finished_epochs: int) -> Tensor | None:
        """Reduce gradients over processes, clip, set the learning rates and step.

        Returns:
            () the joint gradient norm before clipping, where the update clips.
        """
        spec = self.updates[update]
        parameters = self.parameters_of(update)
        if world_size() > 1:
            average_gradients(parameters)
        norm = None if spec.clip_norm is None else clip(parameters, spec.clip_norm)
        for name in spec.optimizers:
            self._set_rates(name, finished_updates, finished_epochs)
            self.optimizers[name].step()
            self.optimizers[name].zero_grad(set_to_none=True)
        return norm

    def rates(self) -> dict[str, float]:
        """Optimiser -> its current learning rate (of its first group)."""
        return {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    def state_dict(self) -> dict:
        """The states of all optimisers."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state: Mapping[str, dict]) -> None:
        """Restore what `state_dict` gave."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])

    def _set_rates(self, name: str, finished_updates: int, finished_epochs: int) -> None:
        spec = self.specs[name]
        if spec.schedule is None:
            return
        factor = spec.schedule(finished_updates if spec.per == "update" else finished_epochs)
        for group, base in zip(self.optimizers[name].param_groups, self.base_rates[name]):
            group["lr"] = base * factor


def clip(parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
    """Scale gradients so that their joint norm is at most `largest`; returns () the norm before."""
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    # On a CPU the norm is known here, and a factor of 1 need not be multiplied into every gradient.
    if norm.device.type != "cpu" or not norm + 1e-6 <= largest:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes; a parameter without one anywhere stays without."""
    if not parameters:
        return
    present = torch.tensor([parameter.grad is not None for parameter in parameters], device=parameters[0].device)
    present = present.to(torch.float32)
    dist.all_reduce(present)
    used = [parameter for parameter, flag in zip(parameters, present.tolist()) if flag > 0]
    if not used:
        return
    flat = torch.cat(
        [(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).flatten() for parameter in used]
    )
    dist.all_reduce(flat)
    flat /= world_size()
    for parameter, gradient in zip(used, flat.split([parameter.numel() for parameter in used])):
        # In the parameter's own memory layout: fused optimisers read both as they lie.
        parameter.grad = torch.empty_like(parameter).copy_(gradient.view(parameter.shape))
