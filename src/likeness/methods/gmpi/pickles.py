"""Reading the published StyleGAN2 pickles without executing anything that they hold.

Each network in such a file is reduced to its own Python source, which the original loader runs. Here only named,
inert constructors are admitted; the source is never looked at.
"""

import collections
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError


@dataclass(frozen=True)
class InertModule:
    """A pickled network or sub-module: its state, without its code."""

    class_name: str
    state: dict[str, Any]


def _inert(meta: dict[str, Any]) -> InertModule:
    return InertModule(str(meta["class_name"]), dict(meta["state"]))


def _tensor_storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *unused: Any) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("dnnlib.util", "EasyDict"): dict,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _inert,
    ("torch._utils", "_rebuild_parameter"): lambda data, *unused: data,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _tensor_storage,
    ("numpy.core.multiarray", "_reconstruct"): np.core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy.core.multiarray", "scalar"): np.core.multiarray.scalar,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""The only globals that a file may name."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a StyleGAN2 file has no need of")
        return ADMITTED[module, name]

    def persistent_load(self, key: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to something outside itself ({key!r})")


def read_stylegan2(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """State dictionaries of `G`, `D` and `G_ema` of a StyleGAN2-ada-pytorch pickle.

    Raises:
        UserError: the file is absent, truncated, not such a pickle, or names anything that is not admitted.
    """
    try:
        with open(path, "rb") as stream:
            content = _Reader(stream).load()
    except FileNotFoundError as error:
        raise UserError("no such file: expected a StyleGAN2 .pkl", path=path) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"is refused as a StyleGAN2 pickle: {error or type(error).__name__}", path=path) from error
    networks = {}
    for name in ("G", "D", "G_ema"):
        module = content.get(name) if isinstance(content, dict) else None
        if not isinstance(module, InertModule):
            raise UserError(f"holds no network {name!r}: expected StyleGAN2-ada-pytorch's G, D and G_ema", path=path)
        networks[name] = _state(module, "")
    return networks


def _state(module: InertModule, prefix: str) -> dict[str, Tensor]:
    found = {}
    for kind in ("_parameters", "_buffers"):
        for name, value in module.state.get(kind, {}).items():
            if value is not None:
                found[prefix + name] = value
    for name, child in module.state.get("_modules", {}).items():
        if isinstance(child, InertModule):
            found |= _state(child, f"{prefix}{name}.")
    return found
