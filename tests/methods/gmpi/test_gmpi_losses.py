"""R1 and the loss on real pictures by one pass backward against each by its own."""

import pytest
import torch

from likeness.methods.gmpi import losses
from likeness.nets.stylegan2_discriminator import Discriminator, EqualisedConv


@pytest.mark.parametrize("channels", [16, 8], ids=["kernel", "torch"])
@pytest.mark.parametrize("clamp", [None, 0.6])
@pytest.mark.parametrize("group", [1, 0, 2])
def test_one_pass_equals_two(channels, clamp, group):
    torch.manual_seed(0)
    network = Discriminator(16, channel_base=16 * channels, channel_max=channels, condition_dim=16, group=group)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    layers = [layer for layer in network.modules() if isinstance(layer, EqualisedConv)]
    for layer in layers:
        layer.clamp = clamp
    real, pose = torch.randn(4, 3, 16, 16), torch.randn(4, 16)
    parameters = list(network.parameters())
    image = real.clone().requires_grad_()
    scores = network(image, pose)
    apart = losses.real_loss(scores), losses.r1_penalty(scores, image)
    together = losses.real_loss_and_penalty(network, real, pose)
    for one, other in zip(together, apart):
        torch.testing.assert_close(one, other)
        expected = torch.autograd.grad(other, parameters, retain_graph=True, allow_unused=True)
        found = torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True)
        for ours, theirs in zip(found, expected):
            ours, theirs = (torch.zeros(()) if g is None else g for g in (ours, theirs))
            torch.testing.assert_close(ours.expand_as(theirs), theirs.expand_as(ours), rtol=1e-3, atol=1e-5)
