"""3 x 3 convolutions on a CPU with a quarter of the multiplications (Winograd's minimal filtering F(4x4, 3x3)).

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016: Y = A^T [(G g G^T) * (B^T d B)] A for every
4 x 4 tile of the result. Its sum over the channels is 36 matrix products, for which torch has a fast routine; the tile
transforms are memory's work (`winograd_kernels.py`). The points are 0, +-3/4, +-3/2 and infinity instead of the paper's
0, +-1, +-2 and infinity: they halve the rounding error of the transforms. What remains, over 128 channels, is 1.1e-6
of the result's standard deviation; torch's own convolution has 6e-7 with channels last and 2e-7 with channels first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from likeness.kernels import floats, launch
from likeness.nets import winograd_kernels as kernels

TILES = 512
"""Tiles transformed at a time: a few megabytes, which stay in a processor's cache until they are multiplied."""


_weights_asked: ContextVar[bool] = ContextVar("_weights_asked", default=True)


@contextmanager
def without_weight_gradients() -> Iterator[None]:
    """Backward passes begun within this leave the convolutions' weights out, as for a penalty on an input's gradient.

    torch does not tell a function of ours which of its gradients an `autograd.grad` needs. The gradients of what was
    computed (a penalty's own backward pass, later) are whole.
    """
    token = _weights_asked.set(False)
    try:
        yield
    finally:
        _weights_asked.reset(token)


def weight_gradients_asked() -> bool:
    """Whether no `without_weight_gradients` is in force, for functions of ours elsewhere."""
    return _weights_asked.get()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 1) -> Tensor:
    """`torch.nn.functional.conv2d(x, weight, bias, padding=padding)` for 3 x 3 filters, differentiable any often.

    x (N, C, H, W) and weight (K, C, 3, 3), float32 on a CPU, C and K multiples of 16, padding 0 to 2. The result
    (N, K, H + 2 padding - 2, W + 2 padding - 2) has its channels last in memory, as x best has.
    """
    return cast(Tensor, _Convolution.apply(x, weight, bias, False, padding))


class _Convolution(torch.autograd.Function):
    """A convolution; `turned`: with its filters turned by half a turn and their channels swapped, as gradients need."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool, padding: int) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        ctx.turned, ctx.padding = turned, padding  # type: ignore[attr-defined]
        return _convolved(x, weight, bias, turned, padding)

    @staticmethod
    def backward(ctx, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradient is None:  # as where torch's second gradient of a neighbour looks at what has none
            return None, None, None, None, None
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _Convolution.apply(gradient, weight, None, not ctx.turned, 2 - ctx.padding)
        if ctx.needs_input_grad[1] and _weights_asked.get():
            if ctx.turned:
                of_weight = _WeightGradient.apply(gradient, x, 2 - ctx.padding)
            else:
                of_weight = _WeightGradient.apply(x, gradient, ctx.padding)
        if ctx.needs_input_grad[2] and _weights_asked.get():
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None


class _WeightGradient(torch.autograd.Function):
    """The gradient of a convolution of x by its filters."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gradient: Tensor, padding: int) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, gradient)
        ctx.padding = padding  # type: ignore[attr-defined]
        return _weight_gradient(x, gradient, padding)

    @staticmethod
    def backward(ctx, weight: Tensor | None) -> tuple[Tensor | None, ...]:
        if weight is None:
            return None, None, None
        x, gradient = ctx.saved_tensors
        of_x = of_gradient = None
        if ctx.needs_input_grad[0]:
            of_x = _Convolution.apply(gradient, weight, None, True, 2 - ctx.padding)
        if ctx.needs_input_grad[1]:
            of_gradient = _Convolution.apply(x, weight, None, False, ctx.padding)
        return of_x, of_gradient, None


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool, padding: int) -> Tensor:
    out, into = weight.shape[:2]
    filters = weight.new_empty(36, out, into)
    arrays = [floats(weight.contiguous()), floats(filters)]
    launch(kernels.transform_filters, out, [*arrays, out, into, int(turned)], x.device)
    if not turned:
        filters = filters.transpose(1, 2)
        out, into = into, out
    pictures = x.permute(0, 2, 3, 1).contiguous()
    number, rows, columns, _ = pictures.shape
    height, width = rows + 2 * padding - 2, columns + 2 * padding - 2
    # The tensor itself is returned, no view of it: what follows may write over it.
    result = torch.empty(
        (number, into, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    offset = pictures.new_zeros(into) if bias is None else bias.contiguous()
    tiles, at_once = _tiles(result.permute(0, 2, 3, 1))
    transformed, products = pictures.new_empty(36, at_once, out), pictures.new_empty(36, at_once, into)
    to_tiles = [floats(pictures), floats(transformed)]
    from_tiles = [floats(products), floats(offset), floats(result)]
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        launch(kernels.transform_input, count, [*to_tiles, first, at_once, rows, columns, out, padding], x.device)
        torch.bmm(transformed, filters, out=products)
        launch(kernels.transform_output, count, [*from_tiles, first, at_once, height, width, into], x.device)
    return result


def _weight_gradient(x: Tensor, gradient: Tensor, padding: int) -> Tensor:
    pictures, gradients = x.permute(0, 2, 3, 1).contiguous(), gradient.permute(0, 2, 3, 1).contiguous()
    _, rows, columns, into = pictures.shape
    _, height, width, out = gradients.shape
    tiles, at_once = _tiles(gradients)
    transformed, spread = pictures.new_empty(36, at_once, into), pictures.new_empty(36, at_once, out)
    total = pictures.new_zeros(36, out, into)
    from_pictures, from_gradients = [floats(pictures), floats(transformed)], [floats(gradients), floats(spread)]
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        launch(kernels.transform_input, count, [*from_pictures, first, at_once, rows, columns, into, padding], x.device)
        launch(kernels.transform_gradient, count, [*from_gradients, first, at_once, height, width, out], x.device)
        total.baddbmm_(spread[:, :count].transpose(1, 2), transformed[:, :count])
    result = pictures.new_empty(out, into, 3, 3)
    launch(kernels.gather_filters, out, [floats(total), floats(result), out, into], x.device)
    return result


def _tiles(result: Tensor) -> tuple[int, int]:
    """How many tiles there are in results (N, H, W, K), and how many of them are transformed at a time."""
    number, height, width, _ = result.shape
    tiles = number * ((height + 3) // 4) * ((width + 3) // 4)
    return tiles, min(TILES, tiles)
