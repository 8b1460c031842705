"""The one-pass activation against its steps one after the other, and its gradients, the second ones too."""

import pytest
import torch

from likeness.nets.activation import scaled_lrelu_


def plain(x, scale, bias, *, noise, strength, gain, bound):
    factor = scale[:, :, None, None] if isinstance(scale, torch.Tensor) else scale
    y = x * factor + bias[:, None, None]
    y = y if noise is None else y + noise * strength
    y = gain * torch.where(y > 0, y, 0.2 * y)
    return y if bound is None else y.clamp(-bound, bound)


@pytest.mark.parametrize("channels", [16, 5], ids=["kernel", "torch"])
@pytest.mark.parametrize("noises", [0, 1, 3])
@pytest.mark.parametrize("bound", [None, 0.7])
@pytest.mark.parametrize("numbered", [False, True])
def test_scaled_lrelu(channels, noises, bound, numbered):
    torch.manual_seed(0)
    x, before = torch.randn(3, channels, 4, 6), torch.randn(3, channels, 1, 1)
    scale, bias, strength = torch.rand(3, channels) + 0.5, torch.randn(channels), torch.tensor(0.3)
    noise = torch.randn(noises, 1, 4, 6) if noises else None
    inputs = [
        t.requires_grad_() for t in (x, before, bias, *([] if numbered else [scale]), *([strength] * (noises > 0)))
    ]
    cotangent, second = torch.randn(3, channels, 4, 6), torch.randn(3, channels, 4, 6)
    results = []
    for function in (scaled_lrelu_, plain):
        # What is written over is a product; the gradient's own gradients pass through it, too.
        y = function(x * before, 1.3 if numbered else scale, bias, noise=noise,
                     strength=strength if noises else None, gain=1.7, bound=bound)  # fmt: skip
        first = torch.autograd.grad((y * cotangent).sum(), inputs, retain_graph=True)
        again = torch.autograd.grad((y * cotangent).sum(), inputs, create_graph=True)
        deeper = torch.autograd.grad((again[0] * second).sum() + again[-1].square().sum(), inputs, allow_unused=True)
        results.append([y, *first, *again, *(torch.zeros(()) if d is None else d for d in deeper)])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs.expand_as(ours), rtol=1e-4, atol=1e-4)
