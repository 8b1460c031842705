"""The hand-written gradients and the rearranged convolutions equal torch's own, in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from likeness.methods.multiface.convolutions import Layer, column, doubled_convolution
from likeness.methods.multiface.layers import ConvTranspose2dWN, LinearWN
from likeness.methods.multiface.optimiser import Adam
from likeness.methods.multiface.passes import masked_square_error, scaled, weighted_square_error
from likeness.methods.multiface.weight_norm import normed_kernel, normed_linear


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
    layer = Layer(kernel, bias, texels, stride=2, transposed=True, slope=slope)
    compare(column(x, [layer]), plain, [x, kernel, bias, texels])


def test_N4_one_bias_a_channel():
    x, kernel, bias, texels = leaf(2, 5, 6, 7), leaf(5, 9, 4, 4), leaf(9), leaf(1, 9, 1, 1)
    plain = F.leaky_relu(F.conv_transpose2d(x, kernel, bias, 2, 1) + texels, 0.2)
    layer = Layer(kernel, bias, texels, stride=2, transposed=True, slope=0.2)
    compare(column(x, [layer]), plain, [x, kernel, bias, texels])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_N1_a_column_of_convolutions(count, order):
    x, first, last = leaf(count, 5, 6, 8), leaf(5, 16, 4, 4), leaf(16, 3, 4, 4)
    texels = [leaf(1, 16, 12, 16), leaf(1, 3, 24, 32)]
    biases = [leaf(16), leaf(3)]
    plain = F.leaky_relu(F.conv_transpose2d(x, first, biases[0], 2, 1) + texels[0], 0.2)
    plain = F.conv_transpose2d(plain, last, biases[1], 2, 1) + texels[1]
    layers = [
        Layer(first, biases[0], texels[0], stride=2, transposed=True, slope=0.2),
        Layer(last, biases[1], texels[1], stride=2, transposed=True),
    ]
    leaves = [x, first, last, *texels, *biases]
    compare(column(x.contiguous(memory_format=order), layers), plain, leaves)


def test_N1_a_gradient_that_others_read_is_left_alone():
    x, kernel = leaf(1, 4, 6, 6), leaf(4, 4, 3, 3)
    out = column(x, [Layer(kernel, None, slope=0.2)])
    weight = torch.randn_like(out).contiguous(memory_format=torch.channels_last)
    before = weight.clone()
    out.backward(weight)
    assert torch.equal(weight, before)


@pytest.mark.parametrize(("size", "stride"), [(4, 2), (3, 1)])
def test_N1_convolution(size, stride):
    x, kernel, bias = leaf(2, 5, 8, 6), leaf(4, 5, size, size), leaf(4)
    plain = F.leaky_relu(F.conv2d(x, kernel, bias, stride, 1), 0.2)
    compare(column(x, [Layer(kernel, bias, stride=stride, slope=0.2)]), plain, [x, kernel, bias])


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


@pytest.mark.parametrize("axis", [0, 1])
def test_N1_kernel_with_one_norm(axis):
    weight, g = leaf(3, 4, 2, 2), leaf(3 if axis == 0 else 4)
    assert gradcheck(lambda w, gains: normed_kernel(w, gains, axis), [weight, g])
    gains = g[:, None, None, None] if axis == 0 else g[None, :, None, None]
    torch.testing.assert_close(normed_kernel(weight, g, axis), weight * gains / weight.square().sum().sqrt())


@pytest.mark.parametrize("rows", [1, 2])
def test_N1_gains_and_biases_of_cameras(rows):
    leaves = [leaf(2, 3, 4, 5), leaf(rows, 3, 1, 1), leaf(rows, 3, 1, 1)]
    assert gradcheck(scaled, leaves)
    compare(scaled(*leaves), leaves[0] * leaves[1] + leaves[2], leaves)


@pytest.mark.parametrize("channels", [1, 3])
def test_L1_weighted_square_error(channels):
    predicted, truth, weight = leaf(2, 3, 4, 5), torch.randn(2, 3, 4, 5).double(), leaf(2, channels, 4, 5)
    plain = ((predicted - truth).square() * weight).mean()
    compare(3 * weighted_square_error(predicted, truth, weight), 3 * plain, [predicted, weight])
    fixed = weight.detach()
    compare(weighted_square_error(predicted, truth, fixed), ((predicted - truth).square() * fixed).mean(), [predicted])


def test_L1_masked_square_error():
    predicted, truth, mask = leaf(2, 3, 4, 5), torch.randn(2, 3, 4, 5).double(), torch.rand(2, 3, 4, 5).double()
    plain = (mask * (predicted - truth)).square().mean()
    compare(masked_square_error(predicted, truth, mask), plain, [predicted])


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_L2_adam_walks_along_memory_as_torch_does_along_indices(order):
    start = torch.randn(4, 3, 5, 6)
    ours, plain = torch.nn.Parameter(start.contiguous(memory_format=order)), torch.nn.Parameter(start.clone())
    optimisers = Adam([ours], lr=1e-2), torch.optim.Adam([plain], lr=1e-2)
    for _ in range(3):
        grad = torch.randn(4, 3, 5, 6)
        ours.grad, plain.grad = grad.clone(), grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(ours, plain)
    moved = Adam([ours], lr=1e-2)
    moved.load_state_dict(copy.deepcopy(optimisers[1].state_dict()))
    ours.grad, plain.grad = grad.clone(), grad.clone()
    moved.step()
    optimisers[1].step()
    torch.testing.assert_close(ours, plain)


def in_both(function, *arguments):
    """Values and gradients of `function` in float32, by the kernels, and in float64, by torch's own functions."""
    found = []
    for kind in (torch.float32, torch.float64):
        leaves = [x.detach().to(kind).requires_grad_(x.requires_grad) for x in arguments]
        out = function(*leaves)
        weight = torch.linspace(-1, 1, out.numel(), dtype=kind).view(out.shape)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found.append([out, *torch.autograd.grad(out, wanted, weight)])
    for ours, plain in zip(*found):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), plain, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("width", [5, 21, 64])
def test_L1_kernels_equal_torch(width, order):
    pictures = [torch.randn(2, 3, 4, width).contiguous(memory_format=order) for _ in range(2)]
    predicted, weight = (picture.requires_grad_() for picture in pictures)
    truth = torch.randn(2, 3, 4, width)
    in_both(weighted_square_error, predicted, truth, weight)
    in_both(masked_square_error, predicted, truth, weight.detach())
    in_both(weighted_square_error, predicted, truth, torch.rand(2, 1, 4, width, requires_grad=True))
    for rows in (1, 2):
        in_both(scaled, predicted, *(torch.randn(rows, 3, 1, 1, requires_grad=True) for _ in range(2)))


@pytest.mark.parametrize("hidden", [16, 48, 20])
@pytest.mark.parametrize("texels", [True, False])
def test_N1_kernels_of_a_column_equal_torch(hidden, texels):
    def parameter(*shape):
        return torch.randn(*shape, requires_grad=True)

    def both(x, first, last, shift, bias, *rest):
        one, other = rest if texels else (None, None)
        layers = [
            Layer(first, shift, one, stride=2, transposed=True, slope=0.2),
            Layer(last, bias, other, stride=2, transposed=True),
        ]
        return column(x.contiguous(memory_format=torch.channels_last), layers)

    arguments = [parameter(2, 5, 3, 7), parameter(5, hidden, 4, 4), parameter(hidden, 3, 4, 4)]
    arguments += [parameter(hidden), parameter(3)]
    if texels:
        arguments += [parameter(1, hidden, 6, 14), parameter(1, 3, 12, 28)]
    in_both(both, *(x.detach().mul_(0.3).requires_grad_() for x in arguments))
