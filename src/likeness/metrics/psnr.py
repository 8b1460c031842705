"""Peak signal-to-noise ratio, in dB."""

import torch
from torch import Tensor


def psnr(first: Tensor, second: Tensor, data_range: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """10 log10(range^2 / MSE) of each pair (N,); infinite where two pictures agree.

    Args:
        first, second: (N, C, H, W).
        data_range: largest minus least possible value: 1 for [0, 1], 2 for [-1, 1].
        mask: (N, 1, H, W); with it the error is averaged over its weight only (covered pixels).
    """
    error = (first - second).double().square()
    if mask is None:
        mean = error.flatten(1).mean(dim=1)
    else:
        weight = mask.double().expand_as(error)
        mean = (error * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1)
    return 10 * torch.log10(data_range**2 / mean)


def psnr_bytes(first: Tensor, second: Tensor) -> Tensor:
    """One figure (scalar) for a whole batch in [0, 1], both clipped and truncated to bytes first.

    The rule of the bi-layer fork: 10 log10(255^2 / MSE over the batch). Truncation is sensitive: a picture that was
    bytes once and has been through [-1, 1] may come out one lower.
    """
    bytes_1, bytes_2 = ((images.clamp(0, 1) * 255).floor().double() for images in (first, second))
    return 10 * torch.log10(255**2 / (bytes_1 - bytes_2).square().mean())
