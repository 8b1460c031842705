"""The loss terms of DepthNet and AIGN: pure functions of predictions and landmarks, unweighted."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from likeness.methods.depthnet.affine import apply_affine, fit_affine

GanMode = Literal["lsgan", "bce_logits", "wgan"]


def keypoint_loss(
    depth: Tensor,
    affine: Tensor | None,
    source_xy: Tensor,
    target_xy: Tensor,
    ridge: float = 0.0,
    l1: bool = False,
    detach: bool = False,
) -> Tensor:
    """The mean square (or absolute) residual of the affine onto the target, over batch, landmarks and both axes.

    Args:
        depth: (N, 66).
        affine: (N, 2, 4) of a network that predicts it; None to fit it in closed form.
        source_xy, target_xy: (N, 66, 2).
        ridge: of the fit.
        l1: absolute instead of square residuals.
        detach: stop the gradient at the fitted affine.
    """
    if affine is None:
        # By the envelope theorem the square loss has the same gradient either way; without ridge the way through the
        # fit is only cost.
        if detach or (ridge == 0 and not l1):
            with torch.no_grad():
                affine = fit_affine(source_xy, depth, target_xy, ridge)
        else:
            affine = fit_affine(source_xy, depth, target_xy, ridge)
    residual = target_xy - apply_affine(affine, source_xy, depth)
    return residual.abs().mean() if l1 else residual.square().mean()


def generator_score(fake: Tensor) -> Tensor:
    """-mean D(fake), what the generator lowers."""
    return -fake.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """mean over the batch of |grad of sum D at real inputs|^2 (no target norm): real is (N, 3, 66)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def adversarial(score: Tensor, real: bool, mode: GanMode) -> Tensor:
    """How far scores (N, 1) are from real or not: least squares, cross-entropy of logits, or the signed mean."""
    if mode == "lsgan":
        return (score - float(real)).square().mean()
    if mode == "bce_logits":
        return functional.binary_cross_entropy_with_logits(score, torch.full_like(score, float(real)))
    return -score.mean() if real else score.mean()
