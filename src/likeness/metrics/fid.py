"""Frechet and kernel inception distance between two sets of features (Heusel et al. 2017, Binkowski et al. 2018)."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the kernel distance over random subsets."""

    mean: float
    deviation: float


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets of features (N, D), (M, D).

    FID is this on the 2048 pooled features of Inception-v3 as published (see `metrics.inception`); on other features
    the figure has another name.

    Raises:
        ValueError: fewer than two rows, or different widths.
    """
    if first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(f"features of shape {first.shape} and {second.shape}: need 2 rows each, of one width")
    first, second = first.astype(np.float64), second.astype(np.float64)
    shift = first.mean(axis=0) - second.mean(axis=0)
    covariance_1, covariance_2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # The trace of the root of C1 C2 is the sum of the roots of its eigenvalues, which are real and not negative.
    eigenvalues = scipy.linalg.eigvals(covariance_1 @ covariance_2)
    root_trace = np.sqrt(np.clip(eigenvalues.real, 0, None)).sum()
    return float(shift @ shift + np.trace(covariance_1) + np.trace(covariance_2) - 2 * root_trace)


def kernel_distance(
    first: np.ndarray, second: np.ndarray, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> KernelDistance:
    """Unbiased MMD^2 with the kernel (x y / D + 1)^3, over random subsets, as torch-fidelity takes KID.

    Args:
        first, second: features (N, D), (M, D).
        subset_size: rows drawn from each set, without replacement, for each of the `subsets`.

    Raises:
        ValueError: a set has fewer rows than a subset.
    """
    if min(len(first), len(second)) < subset_size:
        raise ValueError(f"{len(first)} and {len(second)} rows are fewer than a subset of {subset_size}")
    random = np.random.RandomState(seed)
    first, second = first.astype(np.float64), second.astype(np.float64)
    values = []
    for _ in range(subsets):
        one = first[random.choice(len(first), subset_size, replace=False)]
        two = second[random.choice(len(second), subset_size, replace=False)]
        values.append(_mmd(one, two))
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def _mmd(one: np.ndarray, two: np.ndarray) -> float:
    count, width = one.shape
    k_11, k_22, k_12 = ((a @ b.T / width + 1) ** 3 for a, b in ((one, one), (two, two), (one, two)))
    within = (k_11.sum() - np.trace(k_11) + k_22.sum() - np.trace(k_22)) / (count * (count - 1))
    return float(within - 2 * k_12.mean())
