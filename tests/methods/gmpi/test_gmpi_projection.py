"""The projection without a normalised copy against one with it, and its gradient."""

import pytest
import torch

from likeness.methods.gmpi.projection import normalised_projection


@pytest.mark.parametrize("channels", [32, 6], ids=["kernel", "torch"])
@pytest.mark.parametrize("last", [True, False])
def test_normalised_projection(channels, last):
    torch.manual_seed(0)
    x = torch.randn(2, channels, 8, 12) * (torch.rand(channels, 1, 1) + 0.1) + 2
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    inputs = x.requires_grad_(), torch.randn(2, channels, requires_grad=True)

    def plain(x, kernel):
        deviation = (x.var((2, 3), keepdim=True) + 1e-8).sqrt() + 1e-8
        return torch.einsum("nc,nchw->nhw", kernel, (x - x.mean((2, 3), keepdim=True)) / deviation)

    cotangent = torch.randn(2, 8, 12)
    results = [
        (y := f(*inputs), *torch.autograd.grad((y * cotangent).sum(), inputs)) for f in (normalised_projection, plain)
    ]
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
