"""Convolutions with their biases and rectifiers in one, one after the other, with hand-written gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from likeness.methods.multiface.passes import channel_sums, interleaved, rectified_gradient, shift_and_rectify_
from likeness.methods.multiface.weight_norm import cast

FEW_CHANNELS = 8
"""Transposed convolutions to fewer channels are done as plain ones on a CPU, whose kernels are made for 16."""


@dataclass(frozen=True)
class Layer:
    """One convolution and what follows it at once."""

    kernel: Tensor
    """(O, C, k, k); of a transposed convolution (C, O, 4, 4)."""
    bias: Tensor | None
    """(O,)."""
    texel_bias: Tensor | None = None
    """(1, O, H', W') or (1, O, 1, 1), of the result's size."""
    stride: int = 1
    padding: int = 1
    transposed: bool = False
    """To (B, O, 2H, 2W): for stride 2, padding 1."""
    slope: float | None = None
    """Of a leaky rectifier; None leaves it out."""


def column(x: Tensor, layers: Sequence[Layer]) -> Tensor:
    """`layers` one after the other, from x (B, C, H, W).

    Within a column no gradient of a picture is copied: each is changed where it lies.
    """
    tensors = []
    for layer in layers:
        x, kernel = cast(x, layer.kernel)
        tensors += [kernel, layer.bias, layer.texel_bias]
    plan = tuple((layer.stride, layer.padding, layer.transposed, layer.slope) for layer in layers)
    return _Column.apply(x, plan, *tensors)


def _by_phases(x: Tensor, kernel: Tensor, bias: Tensor | None, texel_bias: Tensor | None) -> Tensor:
    """The transposed convolution as one 2x2 convolution to four times the channels, whose pixels are then interleaved.

    Output rows 2w - 1 and 2w both come from input rows w - 1 and w, so that one window makes a 2x2 block of pixels;
    the outermost ring of blocks reaches one pixel over the edge and is cut.
    """
    inputs, outputs = kernel.shape[:2]
    phases = kernel.reshape(inputs, outputs, 2, 2, 2, 2).flip(2, 4).permute(3, 5, 1, 0, 2, 4)
    phases = phases.reshape(4 * outputs, inputs, 2, 2).contiguous(memory_format=torch.channels_last)
    blocks = F.conv2d(x, phases, None if bias is None else bias.repeat(4), padding=1)
    return interleaved(blocks.permute(0, 2, 3, 1), texel_bias)


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
    blocks = column(x, [Layer(phases, bias.repeat(4), padding=0)]).permute(0, 2, 3, 1)
    inside = _interleaved(blocks, outputs).permute(0, 3, 1, 2)

    def rim(strip: Tensor) -> Tensor:
        return column(F.interpolate(strip, scale_factor=2, mode="bilinear"), [Layer(kernel, bias)])

    left, right = rim(x[..., :2])[..., 2:-2, :2], rim(x[..., -2:])[..., 2:-2, 2:]
    rows = [rim(x[..., :2, :])[..., :2, :], torch.cat([left, inside, right], 3), rim(x[..., -2:, :])[..., 2:, :]]
    return torch.cat(rows, 2)


def _interleaved(blocks: Tensor, channels: int) -> Tensor:
    """(B, 2H, 2W, C) from blocks of 2x2 pixels (B, H, W, 4 C), rows first."""
    count, height, width, _ = blocks.shape
    rows = blocks.reshape(count, height, width, 2, 2, channels).transpose(2, 3)
    return rows.reshape(count, 2 * height, 2 * width, channels)


class _Column(Function):
    @staticmethod
    def forward(ctx, x: Tensor, plan: tuple, *tensors: Tensor | None) -> Tensor:
        ctx.plan, ctx.one_bias_a_channel = plan, []
        pictures, kernels = [x], []
        for index, (stride, padding, transposed, slope) in enumerate(plan):
            kernel, bias, texel_bias = tensors[3 * index : 3 * index + 3]
            assert kernel is not None
            ctx.one_bias_a_channel.append(texel_bias is not None and texel_bias.shape[-1] == 1)
            if transposed and x.device.type == "cpu" and kernel.shape[1] < FEW_CHANNELS:
                x, texel_bias = _by_phases(x, kernel, bias, texel_bias), None
            elif transposed:
                x = F.conv_transpose2d(x, kernel, bias, stride, padding)
            else:
                x = F.conv2d(x, kernel, bias, stride, padding)
            shift_and_rectify_(x, texel_bias, slope)
            pictures.append(x)
            kernels.append(kernel)
        if plan[-1][-1] is None:
            pictures.pop()
        ctx.save_for_backward(*kernels, *pictures)
        return x

    @staticmethod
    def backward(ctx, grad: Tensor):
        kernels, pictures = ctx.saved_tensors[: len(ctx.plan)], ctx.saved_tensors[len(ctx.plan) :]
        results: list[Tensor | None] = []
        for index in reversed(range(len(ctx.plan))):
            stride, padding, transposed, slope = ctx.plan[index]
            kernel, x = kernels[index], pictures[index]
            wants_kernel, wants_bias, wants_texels = ctx.needs_input_grad[2 + 3 * index : 5 + 3 * index]
            one_a_channel = ctx.one_bias_a_channel[index]
            total: Tensor | None = None
            if slope is not None:
                # The last layer's gradient may belong to others.
                grad, total = rectified_gradient(grad, pictures[index + 1], slope, in_place=index < len(ctx.plan) - 1)
            elif wants_bias or one_a_channel:
                total = channel_sums(grad)
            of_texels = total[None, :, None, None] if total is not None and one_a_channel else None
            if wants_texels and not one_a_channel:
                of_texels = grad if len(grad) == 1 else grad.sum(0, keepdim=True)
            # The convolution's own gradient of a bias takes as long as that of the kernel; a sum does not.
            wanted = [index > 0 or ctx.needs_input_grad[0], wants_kernel, False]
            grad, of_kernel, _ = torch.ops.aten.convolution_backward(
                grad.to(x.dtype), x, kernel, None, [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], 1, wanted
            )
            results = [of_kernel, total if wants_bias else None, of_texels if wants_texels else None, *results]
        return grad, None, *results
