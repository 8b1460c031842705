"""The layers' weight norms with hand-written gradients: automatic ones take several passes over millions of values.

Autocast is followed as by torch's own layers: products in the lower precision, gradients of parameters in theirs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from likeness.methods.multiface.passes import lines


def global_norm(weight: Tensor) -> Tensor:
    """() Frobenius norm of a whole weight tensor."""
    # Row by row first: one sum over millions of float32 squares is off by 1e-4.
    rows = lines(weight) if weight.ndim == 4 else weight
    return torch.linalg.vector_norm(torch.linalg.vector_norm(rows, dim=1))


def normed_kernel(weight: Tensor, g: Tensor, axis: int) -> Tensor:
    """Kernel g_o W_o / ||W||_F of weight (O, C, k, k), or (C, O, k, k), and g (O,); `axis` is that of O."""
    return _NormedKernel.apply(weight, g, axis)


def normed_linear(x: Tensor, weight: Tensor, g: Tensor, bias: Tensor) -> Tensor:
    """(B, O): g_o (W x)_o / ||W||_F + b_o of x (B, I), weight (O, I), g and bias (O,)."""
    return _NormedLinear.apply(*cast(x, weight), g, bias)


def cast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both as autocast wants the factors of a product."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        return x.to(dtype), weight.to(dtype)
    return x, weight


class _NormedLinear(Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, g: Tensor, bias: Tensor) -> Tensor:
        norm = global_norm(weight)
        product = F.linear(x, weight)
        ctx.save_for_backward(x, weight, g, norm, product)
        # Scaling the few outputs spares a copy of the matrix, which has millions of entries.
        return product * (g / norm) + bias

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight, g, norm, product = ctx.saved_tensors
        scales = (grad * product).sum(0)
        products = (grad * (g / norm)).to(x.dtype)
        of_x = products @ weight if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_norm = -(scales * g).sum() / norm.square()
            if len(x) == 1 and x.device.type == "cpu":
                of_weight = torch.addr(weight, products[0], x[0], beta=float(of_norm / norm))
            else:
                of_weight = (weight * (of_norm / norm)).addmm_(products.T, x)
        return of_x, of_weight, scales / norm, grad.sum(0)


class _NormedKernel(Function):
    @staticmethod
    def forward(ctx, weight: Tensor, g: Tensor, axis: int) -> Tensor:
        norm = global_norm(weight)
        scales = (g / norm).view([-1 if each == axis else 1 for each in range(4)])
        ctx.axis = axis
        ctx.save_for_backward(weight, g, norm, scales)
        return weight * scales

    @staticmethod
    def backward(ctx, grad: Tensor):
        weight, g, norm, scales = ctx.saved_tensors
        products = (grad * weight).sum([each for each in range(4) if each != ctx.axis])
        of_norm = -(products * g).sum() / norm.square()
        return (weight * (of_norm / norm)).addcmul_(grad, scales), products / norm, None
