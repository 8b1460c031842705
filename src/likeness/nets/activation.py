"""What follows every StyleGAN2 convolution, in one pass: scale, noise, bias, clamp, leaky ReLU."""

import math
from typing import cast

import torch
import torch.nn.functional as F
import warp as wp
from torch import Tensor

from likeness.kernels import as_array, launch
from likeness.nets import activation_kernels as kernels
from likeness.nets.winograd import weight_gradients_asked

LEAK = 0.2
"""Slope of the activation for negative numbers."""


def scaled_lrelu_(
    x: Tensor,
    scale: Tensor | float,
    bias: Tensor,
    *,
    noise: Tensor | None = None,
    strength: Tensor | None = None,
    bound: float | None = None,
) -> Tensor:
    """lrelu(x * scale + bias + noise * strength), within +-`bound`, written over x. Differentiable any often.

    The activation's gain is not applied: it belongs into `scale`, `bias` and `strength`, as the activation is
    positively homogeneous.

    Args:
        x: (N, C, H, W), of which nothing else needs the values.
        scale: (N, C), or a number.
        bias: (C,).
        noise: (N or 1, 1, H, W), a constant; needs `strength`.
        strength: () of the noise.
        bound: None for none. Clamping comes first, at the bounds that the slope makes the same.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.shape[1] % 16:
        return _plain(x, scale, bias, noise, strength, bound)
    x = x.contiguous(memory_format=torch.channels_last)
    if not isinstance(scale, Tensor):
        scale = x.new_full(x.shape[:2], scale)
    limit = math.inf if bound is None else bound
    return cast(Tensor, _ScaledLeakyReLU.apply(x, scale.contiguous(), bias, noise, strength, limit))


def _plain(
    x: Tensor, scale: Tensor | float, bias: Tensor, noise: Tensor | None, strength: Tensor | None, bound: float | None
) -> Tensor:
    offset = bias.to(x.dtype)[:, None, None]
    if isinstance(scale, Tensor):
        y = torch.addcmul(offset, x, scale.to(x.dtype)[:, :, None, None])
    else:
        y = torch.add(offset, x, alpha=scale)
    if noise is not None and strength is not None:
        y = y.add_((noise * strength).to(x.dtype))
    if bound is not None:
        y = y.clamp_(-bound / LEAK, bound)
    return F.leaky_relu_(y, LEAK)


class _ScaledLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, bias, noise, strength, bound):
        settings = _settings(x, scale, bias, noise, strength, bound)
        launch(kernels.activate, x.shape[0] * x.shape[2], [_flat(x), *settings], x.device)
        ctx.mark_dirty(x)
        # The result alone tells what came in: the map is invertible where it has a slope.
        ctx.save_for_backward(x, scale, bias, noise, strength)
        ctx.bound = bound
        return x

    @staticmethod
    def backward(ctx, gradient):
        y, scale, bias, noise, strength = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable_backward(ctx, gradient), None
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        n, channels, rows, _ = y.shape
        of_x = torch.empty_like(gradient)
        sums, moments = y.new_empty(n, rows, channels), y.new_empty(n, rows, channels)
        along_noise = y.new_empty(n * rows)
        settings = _settings(y, scale, bias, noise, strength, ctx.bound)
        outputs = [_flat(of_x), *(as_array(t.view(-1), wp.float32) for t in (sums, moments, along_noise))]
        arguments = [_flat(gradient), _flat(y), *settings[:4], *outputs, *settings[4:]]
        launch(kernels.activate_backward, n * rows, arguments, y.device)
        needs = ctx.needs_input_grad
        return (
            of_x,
            moments.sum(1) / scale if needs[1] else None,
            sums.sum((0, 1)) if needs[2] else None,
            None,
            along_noise.sum() if needs[4] else None,
            None,
        )


def _differentiable_backward(ctx, gradient):
    y, scale, bias, noise, strength = ctx.saved_tensors
    needs = ctx.needs_input_grad
    g = torch.ops.aten.leaky_relu_backward(gradient, y.detach(), LEAK, True)
    if ctx.bound < math.inf:
        g = g * ((y < ctx.bound) & (y > -0.999999 * ctx.bound))
    of_scale = of_bias = of_strength = None
    if needs[1]:
        was = torch.where(y > 0, y, y / LEAK) - bias[:, None, None]
        of_scale = (g * (was if noise is None else was - noise * strength)).sum((2, 3)) / scale
    if needs[2] and weight_gradients_asked():
        of_bias = g.sum((0, 2, 3))
    if needs[4] and weight_gradients_asked():
        of_strength = (g * noise).sum()
    return g * scale[:, :, None, None], of_scale, of_bias, None, of_strength


def _settings(x, scale, bias, noise, strength, bound) -> list:
    """The kernels' arguments beside the pictures."""
    nothing = x.new_empty(0)
    arrays = [scale.view(-1), bias, nothing if noise is None else noise.reshape(-1),
              nothing if strength is None else strength.view(1)]  # fmt: skip
    numbers = [x.shape[2], x.shape[3], x.shape[1], 0 if noise is None else len(noise), LEAK, bound]
    return [*(as_array(array, wp.float32) for array in arrays), *numbers]


def _flat(x: Tensor):
    return as_array(x.permute(0, 2, 3, 1).reshape(-1), wp.float32)
