"""Convolutions with a stride of two, their transpose, and 1 x 1 ones, whose second gradients cost what first ones do.

torch differentiates the gradient of a convolution's weights by a convolution whose kernel is as large as a picture;
here each of the maps (convolution, transpose, gradient of the weights) has the others as its gradients. Under autocast,
which chooses types for torch's own functions, torch's serve.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from likeness.nets.winograd import weight_gradients_asked

STRIDE = 2


def halved(x: Tensor, weight: Tensor) -> Tensor:
    """`conv2d(x, weight, stride=2)`: x (N, C, 2 H + k - 2, 2 W + k - 2), weight (K, C, k, k) -> (N, K, H, W)."""
    if torch.is_autocast_enabled(x.device.type):
        return functional.conv2d(x, weight, stride=STRIDE)
    return cast(Tensor, _Halve.apply(x, weight))


def doubled(x: Tensor, weight: Tensor) -> Tensor:
    """`conv_transpose2d(x, weight, stride=2)`: x (N, K, H, W), weight (K, C, k, k) -> (N, C, 2 H + k - 2, ...)."""
    if torch.is_autocast_enabled(x.device.type):
        return functional.conv_transpose2d(x, weight, stride=STRIDE)
    return cast(Tensor, _Double.apply(x, weight))


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """1 x 1 convolution of (N, C, H, W) with weight (K, C): one matrix product, as channels come last in memory."""
    if torch.is_autocast_enabled(x.device.type):
        return functional.conv2d(x, weight[:, :, None, None])
    return cast(Tensor, _Pointwise.apply(x, weight))


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, stride=STRIDE)

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return None, None
        x, weight = ctx.saved_tensors
        of_x = doubled(gradient, weight) if ctx.needs_input_grad[0] else None
        of_weight = (
            _WeightGradient.apply(x, gradient, weight.shape)
            if ctx.needs_input_grad[1] and weight_gradients_asked()
            else None
        )
        return of_x, of_weight


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        return functional.conv_transpose2d(x, weight, stride=STRIDE)

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return None, None
        x, weight = ctx.saved_tensors
        of_x = halved(gradient, weight) if ctx.needs_input_grad[0] else None
        of_weight = (
            _WeightGradient.apply(gradient, x, weight.shape)
            if ctx.needs_input_grad[1] and weight_gradients_asked()
            else None
        )
        return of_x, of_weight


class _WeightGradient(torch.autograd.Function):
    """The gradient of the weight where x was halved and `gradient` came back."""

    @staticmethod
    def forward(ctx, x, gradient, shape):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, gradient)
        weight = x.new_empty(shape).contiguous(memory_format=torch.channels_last)
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [STRIDE] * 2, [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]

    @staticmethod
    def backward(ctx, weight):
        if weight is None:
            return None, None, None
        x, gradient = ctx.saved_tensors
        of_x = doubled(gradient, weight) if ctx.needs_input_grad[0] else None
        of_gradient = halved(x, weight) if ctx.needs_input_grad[1] else None
        return of_x, of_gradient, None


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        shape = x.shape[0], len(weight), *x.shape[2:]
        result = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        torch.mm(_pixels(x), weight.T, out=_pixels(result))
        return result

    @staticmethod
    def backward(ctx, gradient):
        if gradient is None:
            return None, None
        x, weight = ctx.saved_tensors
        of_x = pointwise(gradient, weight.T) if ctx.needs_input_grad[0] else None
        asked = ctx.needs_input_grad[1] and weight_gradients_asked()
        return of_x, _pixels(gradient).T @ _pixels(x) if asked else None


def _pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N H W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)
