"""The actor that ships with the package, packed small: its body is stored coarser than training keeps it."""

from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from likeness.engine import load_tensors
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.neural_actor.networks.actor import ActorNetwork

SHIPPED = "weights/actor_synthetic.safetensors"
COARSE = {"encoder.weights": torch.float16, "encoder.face_uv": torch.float16, "encoder.faces": torch.int16}


def pack(network: ActorNetwork, path: Path) -> None:
    """Write a renderer of at most 32,767 vertices to a .safetensors file.

    Raises:
        UserError: a body with more vertices.
    """
    if len(network.encoder.vertices) > torch.iinfo(torch.int16).max:
        raise UserError(f"a body of {len(network.encoder.vertices)} vertices is too large to be packed", path=path)
    state = {key: value.to(COARSE.get(key, value.dtype)).contiguous() for key, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)


def unpack(path: Path) -> dict[str, Tensor]:
    """What `pack` wrote, in the types of training; skinning weights sum to 1 again."""
    state = load_tensors(path)
    weights = state["encoder.weights"].float()
    return state | {
        "encoder.weights": weights / weights.sum(1, keepdim=True),
        "encoder.face_uv": state["encoder.face_uv"].float(),
        "encoder.faces": state["encoder.faces"].long(),
    }


def shipped_weights() -> dict[str, Tensor]:
    """The shipped actor: seed 3 of the synthetic stage, trained by the preset `tiny`."""
    with as_file(files(__package__) / SHIPPED) as path:
        return unpack(path)
