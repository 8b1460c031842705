"""How this package starts Warp and launches its kernels on torch tensors: the only place that configures Warp.

A file with `@wp.kernel` functions is one Warp module: it is compiled by its first launch on a machine (about a second a
file on a CPU) and read from Warp's kernel cache afterwards. Backward passes are written by hand, so that every kernel
file should call `wp.set_module_options(KERNEL_OPTIONS)`.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import warp as wp
from torch import Tensor

# Without fused multiply-add a x b - c x d changes its sign exactly when the two products trade places. Neighbouring
# triangles rely on that along their common edge, and a CPU and a GPU then round alike.
KERNEL_OPTIONS = {"enable_backward": False, "fuse_fp": False}


def _start() -> None:
    wp.config.log_level = wp.LOG_WARNING
    if torch.cuda.is_available():
        wp.init()
        return
    # On a machine without a GPU Warp's native library writes a warning straight to the error stream's descriptor.
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_start()
_Argument: Any = type(wp.from_torch(torch.zeros(1), return_ctype=True))


def launch(kernel: wp.Kernel, dim: int | Sequence[int], arguments: Sequence, device: torch.device) -> None:
    """Launch `kernel` over `dim` threads on `device`, in the order of torch's own work there.

    `arguments` are plain numbers and what `as_array` returns. Launches over no threads do nothing.
    """
    with in_torch_order(device):
        wp.launch(kernel, dim=dim, inputs=arguments, device=wp.device_from_torch(device))


def in_torch_order(device: torch.device) -> AbstractContextManager:
    """Within this, Warp works on `device` after what torch was asked before, and before what it is asked later."""
    if device.type != "cuda":
        return nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)))


def as_array(tensor: Tensor, dtype: type):
    """`tensor` as an argument for a kernel, without a copy: its last dimension holds the components of `dtype`."""
    if not tensor.numel():
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)  # for strides that Warp accepts
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False, return_ctype=True)


def floats(tensor: Tensor):
    """All numbers of a dense float32 `tensor` as one flat argument, in the order in which they lie in memory."""
    array = _Argument(tensor.data_ptr(), 0, 1, (tensor.numel(),), (4,))
    array._ref = tensor  # kept for as long as the argument is
    return array


def lanes(threads: int, device: torch.device) -> int:
    """How many threads share an inner loop: `threads` on a GPU, 1 on a CPU, where each would cost a function call."""
    return max(threads, 1) if device.type == "cuda" else 1
