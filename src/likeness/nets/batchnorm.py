"""BatchNorm whose statistics span all processes, twice differentiable, on gloo and nccl."""

import torch
from torch import Tensor, nn

from likeness.nets.distributed import all_sum, world_size


class _CrossProcessNorm(nn.Module):
    """Batch statistics over every process, computed with differentiable sums.

    Mixed into torch's BatchNorm classes, so parameters, buffers and state keys are theirs, and so is the arithmetic
    with one process or in evaluation mode.
    """

    def forward(self, values: Tensor) -> Tensor:
        if world_size() == 1 or not self.training:
            return super().forward(values)
        assert isinstance(self, nn.modules.batchnorm._BatchNorm)
        axes = [axis for axis in range(values.dim()) if axis != 1]
        shape = [1, -1] + [1] * (values.dim() - 2)
        local = values.new_tensor([values.numel() / values.shape[1]])
        sums = all_sum(torch.cat([values.sum(axes), local]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = all_sum(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._update_running(mean.detach(), variance.detach(), count)
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised

    def _update_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert isinstance(self, nn.modules.batchnorm._BatchNorm)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(variance * count / (count - 1), rate)


class BatchNorm1d(_CrossProcessNorm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over the global batch; input (N, C) or (N, C, L)."""


class BatchNorm2d(_CrossProcessNorm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over the global batch; input (N, C, H, W)."""
