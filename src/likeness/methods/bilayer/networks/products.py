"""3x3 convolutions of small pictures as products of matrices, with what lies beside them, for training on a CPU.

Pooling 2x2 commutes with a convolution, so that averaging neighbours first and convolving every second pixel computes
the same with a quarter of the products; nearest upsampling before a convolution is the transpose of that. What is left
is one product of the pixels' surroundings (9 C numbers each) with the kernels, forward and backward, which a processor
does at its full speed however few the pixels are. Deep layers have many more weights than pixels: their spectral norm
is divided out of the products, and its gradient enters as one more pixel, so that nothing goes over the weights alone.
"""

from typing import Any

import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from likeness.kernels import as_array, launch
from likeness.methods.bilayer.networks import products_kernels as kernels
from likeness.methods.bilayer.networks.spectral_norm import Normed, divided

MOST = 3 * 2**21
"""Above so many numbers of surroundings, collecting them costs what resampling saves."""

LEAST = 64
"""Of fewer channels the products are too narrow."""


def suits(x: Tensor, weight: Tensor, resize: str) -> bool:
    """Whether `convolve` is the way: float32 on a CPU, even sides for pooling, few pixels and many channels."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"):
        return False
    out, into = weight.shape[:2]
    count, _, height, width = x.shape
    if min(out, into) < LEAST or out % 16 or into % 16 or torch.compiler.is_compiling():
        return False
    if resize == "none":
        return count * height * width <= into
    if resize == "avgpool":
        return height % 2 == width % 2 == 0 and count * height * width * 9 * into // 4 <= MOST
    return count * height * width * 9 * out <= MOST


def convolve(x: Tensor, weight: Tensor | Normed, bias: Tensor, resize: str) -> Tensor:
    """Convolve x (N, C, H, W) with weight (K, C, 3, 3), zeros outside, and resample as `resize` says.

    A weight with its spectral norm is divided by that. The result has its channels last. Differentiable once.
    """
    if resize == "nearest":
        return _Upsampled.apply(x, divided(weight) if isinstance(weight, Normed) else weight, bias)
    normed = weight if isinstance(weight, Normed) else (weight, None, None, None)
    return _Convolution.apply(x, *normed, bias, resize == "avgpool")


class _Convolution(torch.autograd.Function):
    """`y = x * W / sigma + b`; with `sigma = u^T W v`, the gradient of W is that of `W / sigma` less a u v^T."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        u: Tensor | None,
        v: Tensor | None,
        sigma: Tensor | None,
        bias: Tensor,
        pooled: bool,
    ) -> Tensor:
        ctx.factor = 1.0 if sigma is None else 1 / float(sigma)
        ctx.pooled = pooled
        ctx.save_for_backward(x, weight, u, v)
        count, _, height, width = x.shape
        scale = 2 if pooled else 1
        shape = (count, len(weight), height // scale, width // scale)
        made = torch.empty(shape, device=x.device, memory_format=torch.channels_last)
        torch.addmm(bias, surroundings(x, pooled), weight.flatten(1).t(), alpha=ctx.factor, out=_pixels(made))
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, u, v = ctx.saved_tensors
        pixels = _pixels(gradients[0])
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0] or u is not None:
            of_x = spread(_times(pixels, weight.flatten(1), ctx.factor), x.shape, ctx.pooled)
        if ctx.needs_input_grad[1]:
            left, right = pixels, surroundings(x, ctx.pooled, 0 if u is None else 1)
            if u is not None:
                assert of_x is not None
                along = torch.dot(_pixels(of_x).flatten(), _pixels(x).flatten())  # <gradient of W / sigma, W / sigma>
                left = torch.cat((pixels, (-along * u)[None]))
                right[-1] = v
            of_weight = _times(left.t(), right, ctx.factor).view_as(weight)
        if ctx.needs_input_grad[5]:
            of_bias = pixels.sum(0)
        return of_x, of_weight, None, None, None, of_bias, None


class _Upsampled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        turned = weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, weight.shape[1])  # (9 K, C)
        ctx.save_for_backward(x, turned)
        count, _, height, width = x.shape
        shape = (count, len(weight), 2 * height, 2 * width)
        return spread(_times(_pixels(x), turned.t(), 4.0), shape, True).add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, turned = ctx.saved_tensors
        (gradient,) = gradients
        around = surroundings(gradient, True)  # (N H W, 9 K)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _times(around, turned, 4.0).view(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            kernels_ = _times(around.t(), _pixels(x), 4.0).view(gradient.shape[1], 3, 3, -1)
            of_weight = kernels_.permute(0, 3, 1, 2).flip(2, 3)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias


def surroundings(x: Tensor, pooled: bool, spare: int = 0) -> Tensor:
    """The 3x3 pixels around each, of pictures (N, C, H, W) -> (N H W + spare, 9 C); zeros outside, spare rows free.

    `pooled`: around every second pixel of the pictures averaged 2x2 at every place, N H W / 4 rows.
    """
    count, channels, height, width = x.shape
    around = x.new_empty(count * height * width // (4 if pooled else 1) + spare, 9 * channels)
    arrays = [_flat(_pixels(x)), _flat(around)]
    launch(kernels.surround, count, [*arrays, height, width, channels, int(pooled)], x.device)
    return around


def spread(around: Tensor, shape: torch.Size | tuple[int, int, int, int], pooled: bool) -> Tensor:
    """The transpose of `surroundings`: (P, 9 C) -> pictures of `shape` (N, C, H, W), channels last."""
    count, channels, height, width = shape
    made = torch.empty(shape, device=around.device, memory_format=torch.channels_last).zero_()
    arrays = [_flat(around), _flat(_pixels(made))]
    launch(kernels.spread, count, [*arrays, height, width, channels, int(pooled)], around.device)
    return made


def _times(a: Tensor, b: Tensor, factor: float) -> Tensor:
    """`factor * a @ b`."""
    made = a.new_empty(a.shape[0], b.shape[1])
    return torch.addmm(made, a, b, beta=0, alpha=factor, out=made)


def _pixels(x: Tensor) -> Tensor:
    """Pictures (N, C, H, W) as (N H W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _flat(tensor: Tensor):
    return as_array(tensor.view(-1), wp.float32)
