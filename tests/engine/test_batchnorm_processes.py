"""The cross-process BatchNorm against one process, through double backward."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from likeness.nets.batchnorm import BatchNorm1d
from likeness.nets.distributed import all_mean


def penalty(norm, values):
    values = values.clone().requires_grad_()
    scores = torch.tanh(norm(values)).sum()
    (slope,) = torch.autograd.grad(scores, values, create_graph=True)
    return slope


def worker(rank, path, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    values = torch.arange(21.0).view(7, 3).sin()
    norm = BatchNorm1d(3)
    part = values[:4] if rank == 0 else values[4:]
    slope = penalty(norm, part)
    # The mean over all seven rows, so that the sum over processes is the one-process loss.
    (slope.square().sum(1).sum() / 7).backward()
    gradient = norm.weight.grad.clone()
    dist.all_reduce(gradient)
    queue.put((rank, gradient.numpy(), norm.running_var.numpy(), float(all_mean(part))))
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_equal_torchs_own_norm_through_double_backward(tmp_path):
    context = mp.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=worker, args=(rank, tmp_path / "store", queue)) for rank in range(2)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    values = torch.arange(21.0).view(7, 3).sin()
    norm = nn.BatchNorm1d(3)
    penalty(norm, values).square().sum(1).mean().backward()
    for _, gradient, variance, mean in results:
        torch.testing.assert_close(torch.from_numpy(gradient), norm.weight.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(torch.from_numpy(variance), norm.running_var)
        assert abs(mean - float(values.mean())) < 1e-6
