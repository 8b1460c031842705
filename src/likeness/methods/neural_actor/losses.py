"""Losses of the neural renderer."""

import math

import torch
from torch import Tensor


def color_loss(predicted: Tensor, target: Tensor, l1: bool = False) -> Tensor:
    """() mean over rays (N, 3) of the summed squared (or absolute) difference, in [-1, 1] space."""
    difference = predicted - target
    return (difference.abs() if l1 else difference.square()).sum(-1).mean()


def alpha_loss(missed: Tensor) -> Tensor:
    """() mean of log(1 + m (1 - m) / 0.11): pushes rays (N,) to see all or nothing."""
    return torch.log1p(missed * (1 - missed) / 0.11).mean()


def learning_rate_factor(finished: int, warmup: int, decay_steps: int, rate: float = 0.1) -> float:
    """Linear from 0 over `warmup` updates, then rate^(n / decay_steps) of n finished updates."""
    if finished < warmup:
        return finished / warmup
    return math.pow(rate, finished / decay_steps)
