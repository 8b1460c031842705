"""Structural similarity (Wang et al., IEEE TIP 2004)."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def ssim(
    first: Tensor,
    second: Tensor,
    data_range: float = 1.0,
    window: Literal["uniform", "gaussian"] = "uniform",
    border: Literal["crop", "zero"] = "crop",
) -> Tensor:
    """Mean structural similarity of each pair, (N,), colour channels averaged.

    Two rules are in use. `uniform` and `crop` is scikit-image's default: a 7 x 7 mean with the sample (n - 1)
    covariance, borders left out. `gaussian` and `zero` is the bi-layer evaluation's: an 11 x 11 Gaussian of sigma 1.5,
    population covariance, zeros outside of the picture.

    Args:
        first, second: (N, C, H, W); the arithmetic is done in their precision.
        data_range: largest minus least possible value. Published bi-layer figures pass [-1, 1] pictures with 1.

    Raises:
        ValueError: a picture smaller than the window.
    """
    size = 7 if window == "uniform" else 11
    if min(first.shape[-2:]) < size:
        raise ValueError(f"pictures of {tuple(first.shape[-2:])} are smaller than the window of {size}")
    channels = first.shape[1]
    kernel = _uniform(size) if window == "uniform" else _gaussian(size, 1.5)
    kernel = kernel.to(first)[None, None].expand(channels, 1, size, size)
    padding = size // 2 if border == "zero" else 0

    def mean(images: Tensor) -> Tensor:
        return functional.conv2d(images, kernel, padding=padding, groups=channels)

    mean_1, mean_2 = mean(first), mean(second)
    sample = size**2 / (size**2 - 1) if window == "uniform" else 1.0
    variance_1 = sample * (mean(first * first) - mean_1 * mean_1)
    variance_2 = sample * (mean(second * second) - mean_2 * mean_2)
    covariance = sample * (mean(first * second) - mean_1 * mean_2)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = ((2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)) / (
        (mean_1.square() + mean_2.square() + c1) * (variance_1 + variance_2 + c2)
    )
    return similarity.flatten(1).mean(dim=1)


def _uniform(size: int) -> Tensor:
    return torch.full((size, size), 1 / size**2, dtype=torch.float64)


def _gaussian(size: int, sigma: float) -> Tensor:
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    weights = weights / weights.sum()
    return weights[:, None] * weights[None]
