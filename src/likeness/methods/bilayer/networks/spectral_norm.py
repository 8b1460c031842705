"""Spectral normalisation under the names of the published checkpoints, at the price of one look at each weight.

Torch's own hook divides every weight by a tensor and leaves the gradient of the quotient to automatic differentiation,
which goes over the weight seven times; written out, it is two products with what is there already.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.spectral_norm import SpectralNorm

EPS = 1e-7
"""Added to variances and to spectral norms throughout this method."""


class _Normalise(torch.autograd.Function):
    """`W / sigma` with `sigma = u^T W v`, u and v held: the gradient is `(G - <G, W / sigma> u v^T) / sigma`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        normalised = weight / sigma
        ctx.save_for_backward(normalised, u, v, sigma)
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        normalised, u, v, sigma = ctx.saved_tensors
        (gradient,) = gradients
        along = torch.dot(gradient.flatten(), normalised.flatten())
        result = (gradient / sigma).flatten(1)
        return result.addr_(u * (-along / sigma), v).view_as(gradient), None, None, None


class _Hook(SpectralNorm):
    """Torch's hook with the division above; it keeps the state, its names and the removal."""

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
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
        return _Normalise.apply(weight, u.clone(), v.clone(), sigma)


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
            if isinstance(hook, SpectralNorm):
                with torch.no_grad():
                    for _ in range(iterations):
                        hook.compute_weight(module, do_power_iteration=True)


def fold_spectral_norm(network: nn.Module) -> nn.Module:
    """Divide once and for all, in place: the network computes the same and can no longer be trained further."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and hasattr(module, "weight_orig"):
            nn.utils.remove_spectral_norm(module)
    return network
