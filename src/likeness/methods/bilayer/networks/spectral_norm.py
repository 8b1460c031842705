"""Spectral normalisation under the names of the published checkpoints, at the price of one look at each weight.

Torch's own hook divides every weight by a tensor and leaves the gradient of the quotient to automatic differentiation,
which goes over the weight seven times; written out, it is two products with what is there already.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.spectral_norm import SpectralNorm

EPS = 1e-7
"""Added to variances and to spectral norms throughout this method."""


class Normed(NamedTuple):
    """A weight (out, ...) and its spectral norm `sigma = u^T W v`, in whose gradient u and v are held."""

    weight: Tensor
    u: Tensor
    """(out,)."""
    v: Tensor
    """(rest,)."""
    sigma: Tensor
    """()."""


class _Normalise(torch.autograd.Function):
    """`W / sigma`: the gradient is `(G - <G, W / sigma> u v^T) / sigma`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor, training: bool) -> Tensor:
        reciprocal = sigma.reciprocal()
        # A product takes a third of a division's time; without gradients the last bit counts for more.
        normalised = weight * reciprocal if training else weight / sigma
        ctx.save_for_backward(normalised, u, v, reciprocal)
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        normalised, u, v, reciprocal = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        along = torch.dot(gradient.flatten(), normalised.flatten())
        result = (gradient * reciprocal).flatten(1)
        return result.addr_(u * (-along * reciprocal), v).view_as(gradient), None, None, None, None


class _Hook(SpectralNorm):
    """Torch's hook with the division above; it keeps the state, its names and the removal."""

    def measure(self, module: nn.Module, do_power_iteration: bool) -> Normed:
        """The weight beside its norm, after one power iteration if so asked."""
        weight = module.get_parameter(f"{self.name}_orig")
        u, v = module.get_buffer(f"{self.name}_u"), module.get_buffer(f"{self.name}_v")
        with torch.no_grad():
            matrix = weight.flatten(1)
            for _ in range(self.n_power_iterations if do_power_iteration else 0):
                nn.functional.normalize(torch.mv(matrix.t(), u), dim=0, eps=self.eps, out=v)
                image = torch.mv(matrix, v)
                nn.functional.normalize(image, dim=0, eps=self.eps, out=u)
            sigma = torch.dot(u, image if do_power_iteration else torch.mv(matrix, v))
        # The backward pass of this call must find them as they are now, whatever the next call makes of them.
        return Normed(weight, u.clone(), v.clone(), sigma)

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        return divided(self.measure(module, do_power_iteration))

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        if not isinstance(module, DividesItself):
            super().__call__(module, inputs)


class DividesItself:
    """Mixed into a layer that calls `measured` itself in place of finding its weight divided."""


def divided(normed: Normed) -> Tensor:
    """A weight divided by its spectral norm."""
    return _Normalise.apply(*normed, torch.is_grad_enabled())


def measured(layer: nn.Module) -> Normed | None:
    """What is due for this call of a layer, power iteration included; None where it has no spectral norm."""
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, _Hook):
            return hook.measure(layer, do_power_iteration=layer.training)
    return None


def add_spectral_norm(network: nn.Module) -> nn.Module:
    """Divide the weight of every convolution and linear layer by an estimate of its largest singular value, in place.

    One power iteration a training call, output channels as rows. Each layer then owns `weight_orig`, `weight_u` and
    `weight_v`, the names of the published checkpoints. Predicted layers own no weight and are left alone.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            hook = nn.utils.spectral_norm(module, eps=EPS)._forward_pre_hooks
            for key, value in hook.items():
                if isinstance(value, SpectralNorm):
                    hook[key] = _Hook(value.name, value.n_power_iterations, value.dim, value.eps)
    return network


def settle_spectral_norm(network: nn.Module, iterations: int = 5) -> None:
    """Take power iterations, in place: a fresh network divides by the product of two random directions, about zero."""
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, _Hook):
                for _ in range(iterations):
                    hook.measure(module, do_power_iteration=True)


def fold_spectral_norm(network: nn.Module) -> nn.Module:
    """Divide once and for all, in place: the network computes the same and can no longer be trained further."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
    return network
