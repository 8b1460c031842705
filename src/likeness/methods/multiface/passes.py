"""Several elementwise steps over millions of texels, done a piece at a time so that they meet in a processor's cache.

All pictures here are read and written with their channels last in memory; others are copied into that order first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

PIECE = 2**17
"""Values of a piece: a few operands of it fit in a core's own cache."""


def lines(picture: Tensor) -> Tensor:
    """(B H W, C) of a picture (B, C, H, W): a view where its channels come last in memory."""
    picture = picture.contiguous(memory_format=torch.channels_last)
    return picture.permute(0, 2, 3, 1).reshape(-1, picture.shape[1])


def pieces(*values: Tensor) -> list[tuple[Tensor, ...]]:
    """The same rows of each of `values` (rows, columns), piece by piece; all at once where no cache is at stake."""
    first = values[0]
    rows = max(PIECE // first.shape[1], 1) if first.device.type == "cpu" else max(len(first), 1)
    return list(zip(*(value.split(rows) for value in values)))


def channel_sums(picture: Tensor) -> Tensor:
    """(C,) sums over batch and pixels of (B, C, H, W)."""
    # Whole rows are added up first: many channels side by side are summed faster than three.
    count, channels, height, width = picture.shape
    return lines(picture).view(count * height, width * channels).sum(0).view(width, channels).sum(0)


def shift_and_rectify_(out: Tensor, texel_bias: Tensor | None, slope: float | None) -> None:
    """Add `texel_bias` (1, C, H, W) or (1, C, 1, 1) to `out` (B, C, H, W) in place, and apply a leaky rectifier."""
    last = out.is_contiguous(memory_format=torch.channels_last)
    if not last or texel_bias is None or texel_bias.shape[-1] == 1 or slope is None:
        if texel_bias is not None:
            out += texel_bias
        if slope is not None:
            F.leaky_relu_(out, slope)
        return
    for picture in out.split(1):
        for piece, bias in pieces(lines(picture), lines(texel_bias)):
            piece += bias
            F.leaky_relu_(piece, slope)


def rectified_gradient(grad: Tensor, out: Tensor, slope: float, *, in_place: bool) -> tuple[Tensor, Tensor]:
    """Gradient (B, C, H, W) before a leaky rectifier with result `out`, and its sum over batch and pixels (C,).

    `in_place` allows it to take the place of `grad`.
    """
    last = torch.channels_last
    in_place = in_place and grad.is_contiguous(memory_format=last) and grad.dtype == out.dtype
    result = grad if in_place else torch.empty_like(out, memory_format=last)
    total = out.new_zeros(out.shape[1])
    for piece, after, before in pieces(lines(grad), lines(out), lines(result)):
        torch.ops.aten.leaky_relu_backward.grad_input(piece, after, slope, True, grad_input=before)
        total += before.sum(0)
    return result, total


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
        result = torch.empty_like(texture, memory_format=torch.channels_last)
        of_gain, of_bias = gain.new_empty(count, channels), gain.new_empty(count, channels)
        for index, factors in enumerate(_row(gain, width).expand(count, -1, -1)):
            pictures = [x[index : index + 1] for x in (grad, texture, result)]
            products, sums = gain.new_zeros(width * channels), gain.new_zeros(width * channels)
            for of_out, colours, of_colours in pieces(*(lines(x).view(height, width * channels) for x in pictures)):
                torch.mul(of_out, colours, out=of_colours)
                products += of_colours.sum(0)
                sums += of_out.sum(0)
                torch.mul(of_out, factors, out=of_colours)
            of_gain[index] = products.view(width, channels).sum(0)
            of_bias[index] = sums.view(width, channels).sum(0)
        shape = (count, channels, 1, 1)
        return result, of_gain.view(shape).sum_to_size(gain.shape), of_bias.view(shape).sum_to_size(gain.shape)


def _row(values: Tensor, width: int) -> Tensor:
    """(n, 1, W C): values (n, C, 1, 1) of each channel again and again."""
    return values.flatten(1).repeat(1, width)[:, None]


def weighted_square_error(predicted: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """() mean of weight (predicted - truth)^2 over pictures (B, C, H, W).

    Gradients go to `predicted` and to `weight` (B, C or 1, H, W), none to `truth`.
    """
    return _SquareError.apply(predicted.to(truth.dtype), truth, weight, False)


def masked_square_error(predicted: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """() the same with the weight mask^2, which has no gradient."""
    return _SquareError.apply(predicted.to(truth.dtype), truth, mask.detach(), True)


class _SquareError(Function):
    @staticmethod
    def forward(ctx, predicted: Tensor, truth: Tensor, weight: Tensor, squared: bool) -> Tensor:
        total = truth.new_zeros(())
        result = torch.empty_like(predicted, memory_format=torch.channels_last)
        for ours, theirs, factor, weighted in pieces(*(lines(x) for x in (predicted, truth, weight, result))):
            error = ours - theirs
            torch.mul(error, factor, out=weighted)
            if squared:
                weighted *= factor
            total += error.flatten().dot(weighted.flatten())
            # Most of the gradient's work, while the piece is at hand.
            weighted *= 2 / predicted.numel()
        ctx.save_for_backward(result, *((predicted, truth, weight) if ctx.needs_input_grad[2] else ()))
        return total / predicted.numel()

    @staticmethod
    def backward(ctx, grad: Tensor):
        result, *others = ctx.saved_tensors
        # The term's weight is mostly 1, and known where nothing has to be waited for.
        of_predicted = result if grad.device.type == "cpu" and float(grad) == 1 else result * grad
        of_weight = None
        if others:
            predicted, truth, weight = others
            of_weight = ((predicted - truth).square() * (grad / predicted.numel())).sum_to_size(weight.shape)
        return of_predicted, None, of_weight, None
