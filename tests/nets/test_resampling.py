"""Doubling and halving are each other's adjoints, by either way."""

import pytest
import torch

from likeness.nets.stylegan2_ops import downsample2, upsample2


@pytest.mark.parametrize("channels", [32, 3])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_adjoints_to_the_second_gradient(channels, memory):
    torch.manual_seed(0)
    x = torch.randn(2, channels, 6, 8).contiguous(memory_format=memory).requires_grad_()
    g = torch.randn(2, channels, 3, 4).contiguous(memory_format=memory).requires_grad_()
    (of_x,) = torch.autograd.grad((downsample2(x) * g).sum(), x, create_graph=True)
    torch.testing.assert_close(of_x, upsample2(g) / 4)
    v = torch.randn_like(x)
    (of_g,) = torch.autograd.grad((of_x * v).sum(), g)
    torch.testing.assert_close(of_g, downsample2(v))
