"""The layers' arithmetic with hand-written gradients: what automatic ones do in several passes over millions of values.

Autocast is followed as by torch's own layers: products in the lower precision, gradients of parameters in theirs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from likeness.methods.multiface.passes import PIECE, channel_sums, lines, rectified_gradient, shift_and_rectify_

FEW_CHANNELS = 8
"""Transposed convolutions to fewer channels are done as plain ones on a CPU, whose kernels are made for 16."""


def global_norm(weight: Tensor) -> Tensor:
    """() Frobenius norm of a whole weight tensor."""
    # Row by row first: one sum over millions of float32 squares is off by 1e-4.
    rows = lines(weight) if weight.ndim == 4 else weight
    return torch.linalg.vector_norm(torch.linalg.vector_norm(rows, dim=1))


def normed_kernel(weight: Tensor, g: Tensor, axis: int) -> Tensor:
    """Kernel g_o W_o / ||W||_F of weight (O, C, k, k), or (C, O, k, k), and g (O,); `axis` is that of O."""
    return _NormedKernel.apply(weight, g, axis)


def normed_linear(x: Tensor, weight: Tensor, g: Tensor, bias: Tensor) -> Tensor:
    """(B, O): g_o (W x)_o / ||W||_F + b_o of x (B, I), weight (O, I), g and bias (O,)."""
    return _NormedLinear.apply(*_cast(x, weight), g, bias)


def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    *,
    stride: int = 1,
    padding: int = 1,
    texel_bias: Tensor | None = None,
    slope: float | None = None,
) -> Tensor:
    """Convolution, biases and rectifier in one.

    Args:
        x: (B, C, H, W).
        kernel: (O, C, k, k).
        bias: (O,).
        stride, padding: in pixels.
        texel_bias: (1, O, H', W') or (1, O, 1, 1), of the result's size.
        slope: of a leaky rectifier; None leaves it out.
    """
    return _Convolution.apply(*_cast(x, kernel), bias, texel_bias, stride, padding, False, slope)


def deconvolve(
    x: Tensor, kernel: Tensor, bias: Tensor | None, *, texel_bias: Tensor | None = None, slope: float | None = None
) -> Tensor:
    """The same with a transposed convolution to (B, O, 2H, 2W): stride 2, padding 1, kernel (C, O, 4, 4)."""
    return _Convolution.apply(*_cast(x, kernel), bias, texel_bias, 2, 1, True, slope)


def _by_phases(x: Tensor, kernel: Tensor, bias: Tensor | None, texel_bias: Tensor | None) -> Tensor:
    """The transposed convolution as one 2x2 convolution to four times the channels, whose pixels are then interleaved.

    Output rows 2w - 1 and 2w both come from input rows w - 1 and w, so that one window makes a 2x2 block of pixels;
    the outermost ring of blocks reaches one pixel over the edge and is cut.
    """
    (count, inputs, height, width), outputs = x.shape, kernel.shape[1]
    phases = kernel.reshape(inputs, outputs, 2, 2, 2, 2).flip(2, 4).permute(3, 5, 1, 0, 2, 4)
    phases = phases.reshape(4 * outputs, inputs, 2, 2).contiguous(memory_format=torch.channels_last)
    blocks = F.conv2d(x, phases, None if bias is None else bias.repeat(4), padding=1).permute(0, 2, 3, 1)
    out = x.new_empty(count, 2 * height, 2 * width, outputs)
    texels = x.new_zeros(1, 1, 1, 1) if texel_bias is None else texel_bias.permute(0, 2, 3, 1)
    step = max(PIECE // (4 * width * outputs), 1)
    for begin in range(0, height + 1, step):
        rows = _interleaved(blocks[:, begin : begin + step], outputs)[:, :, 1:-1]
        top, end = max(2 * begin - 1, 0), min(2 * (begin + step) - 1, 2 * height)
        skipped = top - (2 * begin - 1)
        added = texels if texels.shape[1] == 1 else texels[:, top:end]
        torch.add(rows[:, skipped : skipped + end - top], added, out=out[:, top:end])
    return out.permute(0, 3, 1, 2)


_DOUBLING = (((0.75, 0.25, 0), (0.25, 0.75, 0.75), (0, 0, 0.25)), ((0.25, 0, 0), (0.75, 0.75, 0.25), (0, 0.25, 0.75)))
"""Of the first and the second of two doubled pixels: shares of the three pixels around the original in the doubled
pixels before, at and behind it."""


def doubled_convolution(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """3x3 convolution, padding 1, of x (B, C, H, W) doubled bilinearly (half-pixel centres): (B, O, 2H, 2W).

    Both are linear, so that one convolution of x itself makes the four pixels of each block; the doubled picture, the
    largest of the whole network, is never made. Only at the rim, where the one continues the edge and the other pads
    with zeros, they run one after the other.
    """
    shares = kernel.new_tensor(_DOUBLING)  # (2 of a block, 3 around in x, 3 taps)
    outputs = kernel.shape[0]
    phases = torch.einsum("ptk,qsl,ockl->pqocts", shares, shares, kernel).flatten(0, 2)
    blocks = convolve(x, phases, bias.repeat(4), padding=0).permute(0, 2, 3, 1)
    inside = _interleaved(blocks, outputs).permute(0, 3, 1, 2)

    def rim(strip: Tensor) -> Tensor:
        return convolve(F.interpolate(strip, scale_factor=2, mode="bilinear"), kernel, bias)

    left, right = rim(x[..., :2])[..., 2:-2, :2], rim(x[..., -2:])[..., 2:-2, 2:]
    rows = [rim(x[..., :2, :])[..., :2, :], torch.cat([left, inside, right], 3), rim(x[..., -2:, :])[..., 2:, :]]
    return torch.cat(rows, 2)


def _interleaved(blocks: Tensor, channels: int) -> Tensor:
    """(B, 2H, 2W, C) from blocks of 2x2 pixels (B, H, W, 4 C), rows first."""
    count, height, width, _ = blocks.shape
    rows = blocks.reshape(count, height, width, 2, 2, channels).transpose(2, 3)
    return rows.reshape(count, 2 * height, 2 * width, channels)


class _NormedLinear(Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, g: Tensor, bias: Tensor) -> Tensor:
        norm = global_norm(weight)
        product = F.linear(x, weight)
        ctx.save_for_backward(x, weight, g, norm, product)
        # Scaling the few outputs spares a copy of the matrix, which has millions of entries.
        return product * (g / norm) + bias

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight, g, norm, product = ctx.saved_tensors
        scales = (grad * product).sum(0)
        products = (grad * (g / norm)).to(x.dtype)
        of_x = products @ weight if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_norm = -(scales * g).sum() / norm.square()
            of_weight = (weight * (of_norm / norm)).addmm_(products.T, x)
        return of_x, of_weight, scales / norm, grad.sum(0)


class _NormedKernel(Function):
    @staticmethod
    def forward(ctx, weight: Tensor, g: Tensor, axis: int) -> Tensor:
        norm = global_norm(weight)
        scales = (g / norm).view([-1 if each == axis else 1 for each in range(4)])
        ctx.axis = axis
        ctx.save_for_backward(weight, g, norm, scales)
        return weight * scales

    @staticmethod
    def backward(ctx, grad: Tensor):
        weight, g, norm, scales = ctx.saved_tensors
        products = (grad * weight).sum([each for each in range(4) if each != ctx.axis])
        of_norm = -(products * g).sum() / norm.square()
        return (weight * (of_norm / norm)).addcmul_(grad, scales), products / norm, None


class _Convolution(Function):
    @staticmethod
    def forward(ctx, x, kernel, bias, texel_bias, stride: int, padding: int, transposed: bool, slope: float | None):
        ctx.stride, ctx.padding, ctx.transposed, ctx.slope = [stride] * 2, [padding] * 2, transposed, slope
        ctx.one_bias_a_channel = texel_bias is not None and texel_bias.shape[-1] == 1
        if transposed and x.device.type == "cpu" and kernel.shape[1] < FEW_CHANNELS:
            out, texel_bias = _by_phases(x, kernel, bias, texel_bias), None
        elif transposed:
            out = F.conv_transpose2d(x, kernel, bias, stride, padding)
        else:
            out = F.conv2d(x, kernel, bias, stride, padding)
        shift_and_rectify_(out, texel_bias, slope)
        ctx.save_for_backward(x, kernel, None if slope is None else out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, kernel, out = ctx.saved_tensors
        total: Tensor | None = None
        if out is not None:
            grad, total = rectified_gradient(grad, out, ctx.slope)
        elif ctx.needs_input_grad[2] or ctx.one_bias_a_channel:
            total = channel_sums(grad)
        # The convolution's own gradient of a bias takes as long as that of the kernel; a sum does not.
        wanted = [*ctx.needs_input_grad[:2], False]
        of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
            grad.to(x.dtype), x, kernel, None, ctx.stride, ctx.padding, [1, 1], ctx.transposed, [0, 0], 1, wanted
        )
        of_bias, of_texels = None, None
        if ctx.needs_input_grad[2]:
            of_bias = total
        if ctx.needs_input_grad[3]:
            if total is not None and ctx.one_bias_a_channel:
                of_texels = total[None, :, None, None]
            else:
                of_texels = grad if len(grad) == 1 else grad.sum(0, keepdim=True)
        return of_x, of_kernel, of_bias, of_texels, None, None, None, None


def _cast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        return x.to(dtype), weight.to(dtype)
    return x, weight
