"""The losses of GMPI and of the StyleGAN2 underneath.

Source: Zhao et al., ECCV 2022, section 3.4; R1: Mescheder et al., ICML 2018; path length: Karras et al., CVPR 2020.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.nets.stylegan2_discriminator import Discriminator
from likeness.nets.winograd import without_weight_gradients


def real_loss(scores: Tensor) -> Tensor:
    """mean softplus(-D(real))."""
    return F.softplus(-scores).mean()


def fake_loss(scores: Tensor) -> Tensor:
    """mean softplus(D(fake))."""
    return F.softplus(scores).mean()


def r1_penalty(scores: Tensor, real: Tensor) -> Tensor:
    """Mean over samples of |d sum D(real) / d real|^2; `real` (N, 3, H, W) requires a gradient."""
    with without_weight_gradients():
        (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def real_loss_and_penalty(
    discriminator: Discriminator, real: Tensor, condition: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`real_loss` and `r1_penalty` of pictures (N, 3, H, W), with the gradients of both from one pass backward.

    A logit s is piecewise linear and positively homogeneous in the picture x and in the constants of the network, whose
    common factor is u = 1. By Euler's theorem s = <ds/dx, x> + ds/du, for any weights: once R1 has asked for the
    gradients on the right, the loss's own need not come from another pass through the network.
    """
    real = real.detach().requires_grad_()
    if not discriminator.separate:
        scores = discriminator(real, condition)
        return real_loss(scores), r1_penalty(scores, real)
    unit = torch.ones(len(real), dtype=real.dtype, device=real.device, requires_grad=True)
    scores = discriminator(real, condition, unit=unit)
    with without_weight_gradients():
        of_real, of_unit = torch.autograd.grad(scores.sum(), [real, unit], create_graph=True)
    again = (of_real * real.detach()).flatten(1).sum(dim=1) + of_unit  # (N,) equal to the scores
    slope = -torch.sigmoid(-scores.detach()[:, 0]) / len(real)
    carrier = (slope * again).sum()
    penalty = of_real.square().flatten(1).sum(dim=1).mean()
    return real_loss(scores.detach()) + (carrier - carrier.detach()), penalty


def worst_view(scores: Tensor) -> Tensor:
    """(N,) index of the lowest of scores (N, V): the view that the discriminator believes least."""
    return scores.argmin(dim=1)


def path_lengths(image: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """(N,) root mean square over styles of the gradient of <image, noise> / sqrt(pixels) with respect to ws."""
    scaled = (image * noise).sum() / math.sqrt(image.shape[2] * image.shape[3])
    with without_weight_gradients():
        (gradient,) = torch.autograd.grad(scaled, ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def ema_decay(decay: float) -> Callable[[int], float]:
    """Effective decay min(decay, (1 + k) / (10 + k)) at the k-th update, k >= 1."""
    return lambda k: min(decay, (1 + k) / (10 + k))
