"""Several elementwise steps over millions of texels in one pass each.

On a processor, in float32, Warp kernels do them: the texels come from far, and a step costs as much as all. Elsewhere
torch's own functions do. All pictures here are read and written with their channels last in memory.
"""

import torch
import torch.nn.functional as F
import warp as wp
from torch import Tensor
from torch.autograd import Function

from likeness.kernels import as_array, launch
from likeness.methods.multiface import pass_kernels


def lines(picture: Tensor) -> Tensor:
    """(B H W, C) of a picture (B, C, H, W): a view where its channels come last in memory."""
    picture = picture.contiguous(memory_format=torch.channels_last)
    return picture.permute(0, 2, 3, 1).reshape(-1, picture.shape[1])


def has_kernels(*pictures: Tensor) -> bool:
    """Whether the kernels take pictures of this kind."""
    return all(picture.device.type == "cpu" and picture.dtype == torch.float32 for picture in pictures)


def channel_sums(picture: Tensor) -> Tensor:
    """(C,) sums over batch and pixels of (B, C, H, W)."""
    # Whole rows are added up first: many channels side by side are summed faster than three.
    count, channels, height, width = picture.shape
    return lines(picture).view(count * height, width * channels).sum(0).view(width, channels).sum(0)


def shift_and_rectify_(out: Tensor, texel_bias: Tensor | None, slope: float | None) -> None:
    """Add `texel_bias` (1, C, H, W) or (1, C, 1, 1) to `out` (B, C, H, W) in place, and apply a leaky rectifier."""
    last = out.is_contiguous(memory_format=torch.channels_last)
    if last and texel_bias is not None and texel_bias.shape[-1] > 1 and slope is not None and has_kernels(out):
        count, channels, height, width = out.shape
        arguments = [_flat(out), _flat(texel_bias), height, width * channels, slope]
        launch(pass_kernels.shift_and_rectify, count * height, arguments, out.device)
        return
    if texel_bias is not None:
        out += texel_bias
    if slope is not None:
        F.leaky_relu_(out, slope)


def rectified_gradient(grad: Tensor, out: Tensor, slope: float, *, in_place: bool) -> tuple[Tensor, Tensor]:
    """Gradient (B, C, H, W) before a leaky rectifier with result `out`, and its sum over batch and pixels (C,).

    `in_place` allows it to take the place of `grad`.
    """
    count, channels, height, width = out.shape
    if channels % 16 or not has_kernels(grad, out):
        result = torch.ops.aten.leaky_relu_backward(grad, out, slope, True)
        return result, channel_sums(result)
    grad = grad.contiguous(memory_format=torch.channels_last)
    result = grad if in_place else torch.empty_like(grad)
    sums = out.new_empty(count * height, channels)
    arguments = [_flat(grad), _flat(out), _flat(result), as_array(sums.view(-1), wp.float32), width, channels, slope]
    launch(pass_kernels.rectified_gradient, count * height, arguments, out.device)
    return result, sums.sum(0)


def interleaved(blocks: Tensor, texel_bias: Tensor | None) -> Tensor:
    """(B, C, 2H, 2W) plus `texel_bias` (1, C, 2H, 2W) from blocks of 2x2 pixels, rows first: (B, H + 1, W + 1, 4 C).

    The outermost ring of pixels is cut.
    """
    count, height, width, channels = blocks.shape
    height, width, channels = height - 1, width - 1, channels // 4
    if has_kernels(blocks):
        size = (1, channels, 2 * height, 2 * width)
        added = blocks.new_zeros(size) if texel_bias is None else texel_bias.expand(size)
        out = blocks.new_empty(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
        arguments = [as_array(blocks.reshape(-1), wp.float32), _flat(added), _flat(out), height, width, channels]
        launch(pass_kernels.interleave, count * (height + 1), arguments, blocks.device)
        return out
    rows = blocks.reshape(count, height + 1, width + 1, 2, 2, channels).transpose(2, 3)
    whole = rows.reshape(count, 2 * height + 2, 2 * width + 2, channels)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)
    whole = whole.contiguous(memory_format=torch.channels_last)
    return whole if texel_bias is None else whole.add_(texel_bias)


def scaled(texture: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """texture (B, C, H, W) * gain + bias, both (1 or B, C, 1, 1)."""
    return _Scaled.apply(texture, gain, bias)


class _Scaled(Function):
    @staticmethod
    def forward(ctx, texture: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(texture, gain)
        count, channels, height, width = texture.shape
        # Whole rows of gains are seven times as fast as three at a time.
        rows = lines(texture).view(count, height, width * channels)
        result = torch.addcmul(_row(bias, width), rows, _row(gain, width))
        return result.view(count, height, width, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, grad: Tensor):
        texture, gain = ctx.saved_tensors
        count, channels, height, width = texture.shape
        if channels == 3 and has_kernels(grad, texture, gain):
            result = torch.empty_like(texture, memory_format=torch.channels_last)
            totals = gain.new_empty(count, height, 2, channels)
            factors = _row(gain, width).expand(count, -1, -1).reshape(-1)
            flat = [_flat(grad), _flat(texture), as_array(factors, wp.float32), _flat(result)]
            arguments = [*flat, as_array(totals.view(-1), wp.float32), height, width * channels]
            launch(pass_kernels.scaled_backward, count * height, arguments, grad.device)
            of_gain, of_bias = totals.sum(1).unbind(1)
        else:
            result = grad * gain
            of_gain, of_bias = (grad * texture).sum((2, 3)), grad.sum((2, 3))
        shape = (count, channels, 1, 1)
        return result, of_gain.view(shape).sum_to_size(gain.shape), of_bias.view(shape).sum_to_size(gain.shape)


def _row(values: Tensor, width: int) -> Tensor:
    """(n, 1, W C): values (n, C, 1, 1) of each channel again and again."""
    return values.flatten(1).repeat(1, width)[:, None]


def weighted_square_error(predicted: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """() mean of weight (predicted - truth)^2 over pictures (B, C, H, W).

    Gradients go to `predicted` and to `weight` (B, C or 1, H, W), none to `truth`.
    """
    return _SquareError.apply(predicted.to(truth.dtype), truth, weight.expand_as(predicted), False)


def masked_square_error(predicted: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """() the same with the weight mask^2, which has no gradient."""
    return _SquareError.apply(predicted.to(truth.dtype), truth, mask.detach(), True)


class _SquareError(Function):
    @staticmethod
    def forward(ctx, predicted: Tensor, truth: Tensor, weight: Tensor, squared: bool) -> Tensor:
        # Most of the gradient's work is done here, while the texels are at hand.
        scale = 2 / predicted.numel()
        if has_kernels(predicted, truth, weight):
            count, channels, height, width = predicted.shape
            result = torch.empty_like(predicted, memory_format=torch.channels_last)
            sums = truth.new_empty(count * height)
            flat = [_flat(picture) for picture in (predicted, truth, weight, result)]
            arguments = [*flat, as_array(sums, wp.float32), width * channels, squared, scale]
            launch(pass_kernels.square_error, count * height, arguments, truth.device)
            total = sums.sum()
        else:
            error = predicted - truth
            result = error * (weight.square() if squared else weight)
            total = (error * result).sum()
            result *= scale
        ctx.save_for_backward(result, *((predicted, truth) if ctx.needs_input_grad[2] else ()))
        return total / predicted.numel()

    @staticmethod
    def backward(ctx, grad: Tensor):
        result, *others = ctx.saved_tensors
        # The term's weight is mostly 1, and known where nothing has to be waited for.
        of_predicted = result if grad.device.type == "cpu" and float(grad) == 1 else result * grad
        of_weight = None
        if others:
            predicted, truth = others
            of_weight = (predicted - truth).square() * (grad / predicted.numel())
        return of_predicted, None, of_weight, None


def _flat(picture: Tensor):
    """A picture (B, C, H, W) as a kernel's argument (B H W C,), without a copy where its channels come last."""
    return as_array(lines(picture).view(-1), wp.float32)
