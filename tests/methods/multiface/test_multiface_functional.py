"""The hand-written gradients and the rearranged convolutions equal torch's own, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from likeness.methods.multiface.functional import convolve, deconvolve, doubled_convolution, normed_linear
from likeness.methods.multiface.layers import ConvTranspose2dWN, LinearWN


def leaf(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def compare(ours, plain, leaves):
    torch.testing.assert_close(ours, plain)
    weight = torch.randn_like(plain)
    for a, b in zip(torch.autograd.grad(ours, leaves, weight), torch.autograd.grad(plain, leaves, weight)):
        torch.testing.assert_close(a, b)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("outputs", [3, 11])
@pytest.mark.parametrize("slope", [None, 0.2])
def test_N1_transposed_convolution_with_its_biases(outputs, slope):
    x, kernel, bias, texels = leaf(2, 5, 6, 7), leaf(5, outputs, 4, 4), leaf(outputs), leaf(1, outputs, 12, 14)
    plain = F.conv_transpose2d(x, kernel, bias, 2, 1) + texels
    plain = plain if slope is None else F.leaky_relu(plain, slope)
    compare(deconvolve(x, kernel, bias, texel_bias=texels, slope=slope), plain, [x, kernel, bias, texels])


def test_N4_one_bias_a_channel():
    x, kernel, bias, texels = leaf(2, 5, 6, 7), leaf(5, 9, 4, 4), leaf(9), leaf(1, 9, 1, 1)
    plain = F.leaky_relu(F.conv_transpose2d(x, kernel, bias, 2, 1) + texels, 0.2)
    compare(deconvolve(x, kernel, bias, texel_bias=texels, slope=0.2), plain, [x, kernel, bias, texels])


@pytest.mark.parametrize(("size", "stride"), [(4, 2), (3, 1)])
def test_N1_convolution(size, stride):
    x, kernel, bias = leaf(2, 5, 8, 6), leaf(4, 5, size, size), leaf(4)
    plain = F.leaky_relu(F.conv2d(x, kernel, bias, stride, 1), 0.2)
    compare(convolve(x, kernel, bias, stride=stride, slope=0.2), plain, [x, kernel, bias])


def test_N3_convolution_of_a_doubled_picture_without_making_it():
    x, kernel, bias = leaf(2, 5, 7, 9), leaf(2, 5, 3, 3), leaf(2)
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    compare(doubled_convolution(x, kernel, bias), F.conv2d(doubled, kernel, bias, padding=1), [x, kernel, bias])


def test_N1_linear_with_one_norm():
    leaves = [leaf(3, 5), leaf(4, 5), leaf(4), leaf(4)]
    assert gradcheck(normed_linear, leaves)
    x, weight, g, bias = leaves
    plain = F.linear(x, weight * (g / weight.square().sum().sqrt())[:, None], bias)
    compare(normed_linear(*leaves), plain, leaves)


@pytest.mark.parametrize("kind", [LinearWN, ConvTranspose2dWN])
def test_autocast_trains_in_the_lower_precision(kind):
    layer = kind(6, 5)
    x = torch.randn(2, 6) if kind is LinearWN else torch.randn(2, 6, 4, 4)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = layer(x)
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.1)
    rough.float().square().mean().backward()
    assert all(value.grad is not None and value.grad.dtype == torch.float32 for value in layer.parameters())
