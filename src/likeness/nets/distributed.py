"""Sums and means over all processes that can be differentiated, as often as the loss needs."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_reduce


def world_size() -> int:
    """Number of processes that train together; 1 outside of `torchrun`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_sum(values: Tensor) -> Tensor:
    """Elementwise sum over processes of equally shaped `values`; gradients flow to every process."""
    return values if world_size() == 1 else all_reduce(values)


def all_mean(values: Tensor) -> Tensor:
    """Mean () over every element of `values` in every process, whatever their number in each.

    A loss that contains a batch-wide mean (a relativistic average, say) is then the same from one process and from
    several that share the batch.
    """
    if world_size() == 1:
        return values.mean()
    total = all_sum(torch.stack([values.sum(), values.new_tensor(float(values.numel()))]))
    return total[0] / total[1].detach()
