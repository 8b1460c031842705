"""The rearranged convolutions and norms compute what the plain ones do, in float64 where they can."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from likeness.methods.bilayer.networks import products
from likeness.methods.bilayer.networks.convolution import (
    Convolution,
    FixedConv,
    add_upsampled,
    convolve_differences,
    difference_kernels,
)
from likeness.methods.bilayer.networks.projector import Projector
from likeness.methods.bilayer.networks.spectral_norm import add_spectral_norm, fold_spectral_norm
from likeness.nets.memory import keep_freed_memory


def plain(x, weight, bias, resize):
    if resize == "nearest":
        x = F.interpolate(x, scale_factor=2, mode="nearest")
    y = F.conv2d(x, weight, bias, padding=1)
    return F.avg_pool2d(y, 2) if resize == "avgpool" else y


@pytest.mark.parametrize("size", [4, 8, 12])
@pytest.mark.parametrize("resize", ["none", "nearest", "avgpool"])
def test_resampling_inside_a_convolution_is_exact(resize, size):
    torch.manual_seed(0)
    layer = Convolution(3, 5, resize).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    expected = plain(x, layer.weight, layer.bias, resize)
    assert torch.allclose(layer(x), expected, atol=1e-12)
    fixed = FixedConv(layer.weight.detach(), layer.bias.detach(), resize)
    assert torch.allclose(fixed(x), expected, atol=1e-12)
    leaves = (x, layer.weight, layer.bias)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad((layer(x) * weights).sum(), leaves)
    theirs = torch.autograd.grad((expected * weights).sum(), leaves)
    assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("normed", [False, True], ids=["plain", "spectral"])
@pytest.mark.parametrize("resize", ["none", "nearest", "avgpool"])
def test_products_of_matrices_equal_the_plain_convolution(resize, normed):
    torch.manual_seed(0)
    mine, theirs = Convolution(128, 64, resize), nn.Conv2d(128, 64, 3, padding=1)
    theirs.load_state_dict(mine.state_dict())
    if normed:
        add_spectral_norm(mine), nn.utils.spectral_norm(theirs, eps=1e-7)
        theirs.load_state_dict(mine.state_dict())
    results = []
    for layer in (mine, theirs):
        x = torch.randn(2, 128, 8, 6, generator=torch.Generator().manual_seed(1))
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        for _ in range(2):  # power iterations
            if layer is mine:
                assert products.suits(x, layer.get_parameter("weight_orig" if normed else "weight"), resize)
                y = layer(x)
                continue
            y = layer(F.interpolate(x, scale_factor=2, mode="nearest") if resize == "nearest" else x)
            y = F.avg_pool2d(y, 2) if resize == "avgpool" else y
        (y * torch.linspace(0, 1, y.numel()).view(y.shape)).sum().backward()
        results.append([y.detach(), x.grad, *(parameter.grad for _, parameter in sorted(layer.named_parameters()))])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 2e-6 * b.abs().max()


def test_products_are_left_alone_where_they_do_not_pay():
    weight = torch.zeros(128, 128, 3, 3)
    assert products.suits(torch.zeros(1, 128, 8, 8), weight, "none")
    assert not products.suits(torch.zeros(1, 128, 16, 16), weight, "none")
    assert not products.suits(torch.zeros(1, 128, 8, 8, dtype=torch.float64), weight.double(), "none")
    assert not products.suits(torch.zeros(1, 128, 7, 8), weight, "avgpool")
    assert not products.suits(torch.zeros(1, 24, 8, 8), torch.zeros(24, 24, 3, 3), "avgpool")


def test_upsampling_by_differences_is_exact():
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 4, 3, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    made = convolve_differences(x, difference_kernels(weight), bias)
    assert torch.allclose(made, plain(x, weight, bias, "nearest"), atol=1e-12)


def test_upsampled_addition_equals_repeating():
    large, small = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)
    expected = large + small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(add_upsampled(large.requires_grad_(), small), expected)
    with torch.no_grad():
        near = large.detach().clone().contiguous(memory_format=torch.channels_last)
        assert torch.equal(add_upsampled(near, small), expected)


def test_spectral_norm_equals_torchs_own_over_training_calls():
    torch.manual_seed(0)
    mine = add_spectral_norm(nn.Sequential(nn.Conv2d(3, 8, 3)))
    theirs = nn.Sequential(nn.Conv2d(3, 8, 3))
    nn.utils.spectral_norm(theirs[0], eps=1e-7)
    theirs.load_state_dict(mine.state_dict())
    for _ in range(3):
        x = torch.randn(2, 3, 9, 9)
        results = []
        for network in (mine, theirs):
            network.zero_grad()
            y = network(x)
            y.square().sum().backward()
            results.append((y, network[0].weight_orig.grad))
        assert torch.allclose(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
        assert torch.allclose(results[0][1], results[1][1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(mine[0].weight_u, theirs[0].weight_u, atol=1e-6)
    mine.eval()
    before = mine(x)
    assert torch.allclose(fold_spectral_norm(mine)(x), before, atol=1e-6)
    assert "weight" in mine[0].state_dict()


@pytest.mark.parametrize("groups", ["spade", "norm"])
def test_projector_equals_its_layers_one_after_another(groups):
    torch.manual_seed(0)
    embeddings = [torch.randn(2, c, 8, 8, dtype=torch.float64) for c in (16, 8)]
    generator = (8, 16) if groups == "spade" else (4, 8)
    projector = Projector(2, (8, 16), generator, groups).double()

    def slowly(embedding, stack, size, rows):
        pooled = F.adaptive_avg_pool2d(embedding, size).reshape(len(embedding), rows, -1)
        return stack(pooled)[..., -1]

    expected = [
        slowly(embedding, stack, size, rows)
        for embedding, stacks, size, rows in zip(
            embeddings, projector.fc_blocks, projector.sizes, projector.rows, strict=True
        )
        for stack in stacks
    ]
    for _ in range(2):
        made = projector(embeddings)
        assert all(torch.allclose(group.bias, e, atol=1e-12) for group, e in zip(made, expected, strict=True))
        projector.collapse(8)


def test_keeping_memory_changes_no_result():
    keep_freed_memory()
    keep_freed_memory()
    assert float(torch.ones(2**20).sum()) == 2**20
