"""The losses of GMPI and of the StyleGAN2 underneath.

Source: Zhao et al., ECCV 2022, section 3.4; R1: Mescheder et al., ICML 2018; path length: Karras et al., CVPR 2020.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

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
