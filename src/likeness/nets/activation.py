"""What follows every StyleGAN2 convolution, in one pass: scale, noise, bias, clamp, leaky ReLU."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.kernels import floats, launch
from likeness.nets import activation_kernels as kernels
from likeness.nets.winograd import weight_gradients_asked

LEAK = 0.2
"""Slope of the activation for negative numbers."""
ALMOST = 0.999999
"""What was clamped lies beyond this share of the lower bound, which is met up to rounding."""


def lrelu(x: Tensor) -> Tensor:
    """The leaky ReLU, whose second gradients do not look at x, where torch's would be zeros at the price of numbers."""
    return x * torch.where(x.detach() > 0, 1.0, LEAK).to(x.dtype)


def scaled_lrelu_(
    x: Tensor,
    scale: Tensor | float,
    bias: Tensor,
    *,
    noise: Tensor | None = None,
    strength: Tensor | None = None,
    gain: float = 1.0,
    bound: float | None = None,
    unit: Tensor | None = None,
) -> Tensor:
    """gain * lrelu(x * scale + bias + noise * strength), within +-`bound`. Differentiable any often.

    Args:
        x: (N, C, H, W), of which nothing else needs the values: they may be written over.
        scale: (N, C), or a number.
        bias: (C,).
        noise: (N or 1, 1, H, W), a constant; needs `strength`.
        strength: () of the noise.
        gain: of the result, before it is clamped.
        bound: None for none.
        unit: (N,) ones which stand before `bias` and `bound`, so that a gradient with respect to them can be asked for;
            not together with noise.
    """
    tensor, factor = (scale, 1.0) if isinstance(scale, Tensor) else (None, scale)
    limit = math.inf if bound is None else bound
    return cast(Tensor, _ScaledLeakyReLU.apply(x, tensor, factor, bias, noise, strength, (gain, limit), unit))


class _ScaledLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, factor, bias, noise, strength, limits, unit):
        ctx.set_materialize_grads(False)
        ctx.factor, ctx.limits = factor, limits
        ctx.kernel = x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[1] % 16 == 0
        if not ctx.kernel:
            ctx.save_for_backward(y := _plain(x, scale, factor, bias, noise, strength, limits), scale, bias, noise,
                                  strength, unit, None if scale is None else x)  # fmt: skip
            return y
        y = x.contiguous(memory_format=torch.channels_last)
        if y is x:
            ctx.mark_dirty(x)
        arguments = [floats(y), *_settings(y, scale, factor, bias, noise, strength, limits)]
        launch(kernels.activate, y.shape[0] * y.shape[2], arguments, y.device)
        # The result alone tells what came in: the map is invertible where it has a slope.
        ctx.save_for_backward(y, scale, bias, noise, strength, unit, None)
        return y

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return (None,) * 8
        y, scale, bias, noise, strength, _, _ = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled() or needs[7] or not ctx.kernel:
            return _composed_backward(ctx, gradient)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        n, channels, rows, _ = y.shape
        of_x = torch.empty_like(gradient)
        sums, moments = y.new_empty(n, rows, channels), y.new_empty(n, rows, channels)
        along_noise = y.new_empty(n * rows)
        settings = _settings(y, scale, ctx.factor, bias, noise, strength, ctx.limits)
        outputs = [floats(t) for t in (of_x, sums, moments, along_noise)]
        arguments = [floats(gradient), floats(y), *settings[:4], *outputs, *settings[4:]]
        launch(kernels.activate_backward, n * rows, arguments, y.device)
        of_scale = moments.sum(1) / scale if needs[1] else None
        of_bias = sums.sum((0, 1)) if needs[3] else None
        return of_x, of_scale, None, of_bias, None, along_noise.sum() if needs[5] else None, None, None


def _plain(x, scale, factor, bias, noise, strength, limits) -> Tensor:
    gain, bound = limits
    offset = (bias * gain).to(x.dtype)[:, None, None]
    if scale is None:
        y = torch.add(offset, x, alpha=factor * gain)
    else:
        y = torch.addcmul(offset, x, (scale * gain).to(x.dtype)[:, :, None, None])
    if noise is not None:
        y = y.add_((noise * (strength * gain)).to(x.dtype))
    # Clamping comes first, at the bounds that the slope makes the same.
    if bound < math.inf:
        y = y.clamp_(-bound / LEAK, bound)
    return F.leaky_relu_(y, LEAK)


def _composed_backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by torch's own functions, which torch differentiates again."""
    y, scale, bias, noise, strength, _, x = ctx.saved_tensors
    needs = ctx.needs_input_grad
    g = torch.ops.aten.leaky_relu_backward(gradient, y.detach(), LEAK, True)
    gain, bound = ctx.limits
    outside = None
    if bound < math.inf:
        outside = (y.detach() >= bound) | (y.detach() <= -ALMOST * bound)
        g = g.masked_fill(outside, 0)
    of_x = g * (ctx.factor * gain) if scale is None else g * (scale * gain).to(g.dtype)[:, :, None, None]
    of_scale = of_bias = of_strength = of_unit = None
    if needs[1]:
        if x is None:
            x = torch.where(y > 0, y, y / LEAK) / gain - bias[:, None, None]
            x = (x if noise is None else x - noise * strength) / scale[:, :, None, None]
        of_scale = (g * x).sum((2, 3)).to(scale.dtype) * gain
    if needs[7]:
        of_unit = g.sum((2, 3)).to(bias.dtype) @ (bias * gain)
        if outside is not None:
            of_unit = of_unit + (gradient * y.detach()).masked_fill(~outside, 0).sum((1, 2, 3))
    if needs[3] and weight_gradients_asked():
        of_bias = g.sum((0, 2, 3)).to(bias.dtype) * gain
    if needs[5] and weight_gradients_asked():
        of_strength = (g * noise).sum().to(strength.dtype) * gain
    return of_x, of_scale, None, of_bias, None, of_strength, None, of_unit


def _settings(x, scale, factor, bias, noise, strength, limits) -> list:
    """The kernels' arguments beside the pictures."""
    nothing = x.new_empty(0)
    scale = x.new_full(x.shape[:2], factor) if scale is None else scale.contiguous()
    arrays = [scale, bias, nothing if noise is None else noise.contiguous(), nothing if strength is None else strength]
    numbers = [x.shape[2], x.shape[3], x.shape[1], 0 if noise is None else len(noise), limits[0], LEAK, limits[1]]
    return [*map(floats, arrays), *numbers]
