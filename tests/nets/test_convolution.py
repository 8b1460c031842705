"""Winograd's convolution against a plain sum in double precision, and when it is taken."""

import pytest
import torch
from torch.nn import functional

from likeness.nets import convolution, winograd
from likeness.nets.convolution import Conv2d, conv3x3
from likeness.nets.winograd import convolve, without_weight_gradients


def inputs(number: int, into: int, out: int, rows: int, columns: int) -> list[torch.Tensor]:
    torch.manual_seed(number * rows + columns)
    tensors = [torch.randn(number, into, rows, columns), torch.randn(out, into, 3, 3), torch.randn(out)]
    return [tensor.requires_grad_() for tensor in tensors]


def doubled(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


def all_derivatives(convolution, tensors: list[torch.Tensor], padding: int) -> list[torch.Tensor]:
    """The result, the gradients of a function of it, and those of a function of the gradients."""
    result = convolution(*tensors, padding=padding)
    first = torch.autograd.grad((result**2).sum(), tensors, create_graph=True)
    second = torch.autograd.grad(sum((gradient**2).sum() for gradient in first), tensors)
    return [result, *first, *second]


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("shape", [(2, 16, 32, 9, 11), (1, 48, 16, 4, 4), (3, 32, 32, 3, 17), (1, 16, 16, 95, 93)])
def test_equals_a_plain_sum_with_two_orders_of_derivatives(shape: tuple[int, ...], padding: int) -> None:
    tensors = inputs(*shape)
    got = all_derivatives(convolve, tensors, padding)
    wanted = all_derivatives(functional.conv2d, doubled(tensors), padding)
    for ours, plain in zip(got, wanted, strict=True):
        assert (ours - plain).abs().max() <= 3e-6 * plain.abs().max()


def test_takes_pictures_and_filters_of_any_layout() -> None:
    x, weight, bias = inputs(2, 32, 32, 24, 20)
    wanted = functional.conv2d(x, weight, bias, padding=1)
    for picture in (x, x.contiguous(memory_format=torch.channels_last)):
        for filters in (weight, weight.contiguous(memory_format=torch.channels_last), weight.mT.contiguous().mT):
            result = convolve(picture, filters, bias)
            assert result.is_contiguous(memory_format=torch.channels_last)
            assert torch.allclose(result, wanted, rtol=0, atol=1e-4)


def test_rounding_stays_within_ten_times_that_of_a_plain_sum() -> None:
    x, weight, bias = inputs(1, 128, 128, 32, 32)
    exact = functional.conv2d(*doubled([x, weight, bias]), padding=1)
    ours = (convolve(x, weight, bias) - exact).std() / exact.std()
    plain = (functional.conv2d(x, weight, bias, padding=1) - exact).std() / exact.std()
    assert ours < 2e-6
    assert ours < 10 * plain


def test_a_penalty_on_the_inputs_gradient_needs_no_weight_gradients_before_its_own(monkeypatch) -> None:
    tensors = inputs(1, 32, 32, 16, 16)
    exact = doubled(tensors)
    counted = []
    counted_function = winograd._weight_gradient
    monkeypatch.setattr(winograd, "_weight_gradient", lambda *a: counted.append(1) or counted_function(*a))

    def penalty(convolution, tensors: list[torch.Tensor]) -> torch.Tensor:
        result = (convolution(*tensors, padding=1) ** 2).sum()
        (gradient,) = torch.autograd.grad(result, tensors[0], create_graph=True)
        return (gradient**2).sum()

    with without_weight_gradients():
        ours = penalty(convolve, tensors)
    assert not counted
    got = torch.autograd.grad(ours, tensors)
    wanted = torch.autograd.grad(penalty(functional.conv2d, exact), exact)
    for mine, plain in zip(got, wanted, strict=True):
        assert (mine - plain).abs().max() <= 3e-6 * plain.abs().max()


def test_the_layer_takes_winograds_way_only_where_it_pays(monkeypatch) -> None:
    taken = []
    monkeypatch.setattr(convolution, "convolve", lambda *a: taken.append(1) or convolve(*a))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    pictures = torch.randn(1, 64, 32, 32)

    def takes(layer: Conv2d, x: torch.Tensor = pictures, tolerance: float = 1e-4) -> bool:
        taken.clear()
        result = layer(x)
        options = layer.stride, layer.padding, layer.dilation, layer.groups
        plain = functional.conv2d(x, layer.weight.float(), layer.bias, *options)
        assert torch.allclose(result, plain.to(result.dtype), rtol=0, atol=tolerance)
        return bool(taken)

    assert takes(Conv2d(64, 64, 3, padding=1))
    assert takes(Conv2d(64, 32, 3))
    assert not takes(Conv2d(64, 64, 1))
    assert not takes(Conv2d(64, 64, 3, stride=2, padding=1))
    assert not takes(Conv2d(64, 64, 3, padding=1, groups=4))
    assert not takes(Conv2d(64, 64, 3, padding=2, dilation=2))
    assert not takes(Conv2d(64, 3, 3, padding=1))
    assert not takes(Conv2d(64, 64, 3, padding=1), pictures[:, :, :8, :8])
    with torch.autocast("cpu", torch.bfloat16):
        assert not takes(Conv2d(64, 64, 3, padding=1), tolerance=3e-2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert not takes(Conv2d(64, 64, 3, padding=1))


def test_gradients_of_filters_used_twice_add_up() -> None:
    x, weight, bias = inputs(1, 64, 64, 32, 32)
    exact = doubled([x, weight, bias])
    conv3x3(conv3x3(x, weight, bias), weight, bias).square().mean().backward()
    plain_once = functional.conv2d(*exact, padding=1)
    functional.conv2d(plain_once, exact[1], exact[2], padding=1).square().mean().backward()
    for ours, plain in zip([x, weight, bias], exact, strict=True):
        assert (ours.grad - plain.grad).abs().max() <= 5e-6 * plain.grad.abs().max()
