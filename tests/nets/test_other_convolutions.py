"""Strided, transposed and pointwise convolutions and their gradients against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from likeness.nets.frozen import frozen
from likeness.nets.other_convolutions import doubled, halved, pointwise
from likeness.nets.winograd import without_weight_gradients

PAIRS = {
    "halved": (halved, lambda x, w: F.conv2d(x, w, stride=2), (2, 3, 9, 7), (4, 3, 3, 3)),
    "doubled": (doubled, lambda x, w: F.conv_transpose2d(x, w, stride=2), (2, 4, 4, 3), (4, 3, 3, 3)),
    "pointwise": (pointwise, lambda x, w: F.conv2d(x, w[:, :, None, None]), (2, 3, 5, 6), (4, 3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_first_and_second_gradients(name):
    ours, theirs, shape, kernel = PAIRS[name]
    torch.manual_seed(0)
    x, weight = torch.randn(shape, requires_grad=True), torch.randn(kernel, requires_grad=True)
    results = []
    for function in (ours, theirs):
        y = function(x, weight)
        first = torch.autograd.grad(y.square().sum(), [x, weight], create_graph=True)
        results.append([y, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), [x, weight])])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_weights_are_left_out_where_not_asked(name):
    ours, _, shape, kernel = PAIRS[name]
    x, weight = torch.randn(shape, requires_grad=True), torch.randn(kernel, requires_grad=True)
    with without_weight_gradients():
        of_x, of_weight = torch.autograd.grad(ours(x, weight).sum(), [x, weight], create_graph=True, allow_unused=True)
    assert of_weight is None
    (later,) = torch.autograd.grad(of_x.square().sum(), [weight])
    assert later.abs().sum() > 0


def test_a_frozen_network_passes_gradients_on_and_keeps_none():
    network = torch.nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    x = torch.randn(4, 3, requires_grad=True)
    with frozen(network):
        y = network(x)
    assert network.weight.requires_grad
    assert not network.bias.requires_grad
    y.sum().backward()
    assert x.grad is not None
    assert network.weight.grad is None
