"""Adam over parameters whose channels come last in memory."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam(torch.optim.Adam):
    """Torch's fused Adam, without the copy that it makes of every parameter which is not laid out as it is indexed.

    Each step is elementwise, so that it may as well walk along all four tensors as they lie. States and their keys are
    those of `torch.optim.Adam`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float):
        super().__init__(parameters, lr=lr, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            used = [parameter for parameter in group["params"] if parameter.grad is not None]
            grads = [parameter.grad for parameter in used]
            states = [self._state_of(parameter) for parameter in used]
            beta1, beta2 = group["betas"]
            adam(
                [_as_it_lies(parameter, parameter) for parameter in used],
                [_as_it_lies(grad, parameter) for grad, parameter in zip(grads, used)],
                [_as_it_lies(state["exp_avg"], parameter) for state, parameter in zip(states, used)],
                [_as_it_lies(state["exp_avg_sq"], parameter) for state, parameter in zip(states, used)],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
        return loss

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].stride() != parameter.stride():  # of a checkpoint from before the parameter was laid out so
                state[name] = torch.empty_like(parameter).copy_(state[name])
        return state


def _as_it_lies(value: Tensor, parameter: Tensor) -> Tensor:
    """A view of `value` whose axes come in the order in which those of `parameter` lie in memory."""
    strides = parameter.stride()
    if value.stride() != strides:
        value = torch.empty_like(parameter).copy_(value)
    if parameter.is_contiguous():
        return value
    return value.permute(sorted(range(value.ndim), key=lambda axis: -strides[axis]))
