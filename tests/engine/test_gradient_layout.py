"""Averaging over processes leaves a gradient in its parameter's memory layout, which fused optimisers rely on."""

import pytest
import torch
import torch.distributed as dist

from likeness.engine.updates import average_gradients, clip


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_averaged_gradients_keep_layout_and_values(one_process):
    torch.manual_seed(0)
    parameters = [
        torch.nn.Parameter(torch.randn(1, 3, 5, 4).contiguous(memory_format=torch.channels_last)),
        torch.nn.Parameter(torch.randn(7)),
    ]
    expected = [torch.randn_like(parameter) for parameter in parameters]
    for parameter, gradient in zip(parameters, expected):
        parameter.grad = gradient.clone()
    average_gradients(parameters)
    for parameter, gradient in zip(parameters, expected):
        assert parameter.grad.stride() == parameter.stride()
        assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_clipping_equals_torchs_own(scale):
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.zeros(4, 5)) for _ in range(2)] for _ in range(2))
    for one, other in zip(ours, theirs):
        one.grad = scale * torch.randn(4, 5)
        other.grad = one.grad.clone()
    norm = clip(ours, 10.0)
    assert torch.equal(norm, torch.nn.utils.clip_grad_norm_(theirs, 10.0))
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(ours, theirs))
