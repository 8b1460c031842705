"""The generator that ships with the package: made by `likeness prove gmpi OUT --weights FILE`, stored in half."""

from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors.torch import save_file

from likeness.engine import load_tensors, load_weights
from likeness.files import atomic_path
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.config import GMPI_PRESETS
from likeness.methods.gmpi.method import build_generator

SHIPPED = "weights/gmpi_synthetic.safetensors"
CONFIG = GMPI_PRESETS["tiny"]


def pack(avatar: Avatar, path: Path) -> None:
    """Write an avatar's weights to a .safetensors file of float16."""
    state = {name: value.cpu().half().contiguous() for name, value in avatar.generator.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)


def shipped_avatar(device: str = "cpu") -> Avatar:
    """The shipped generator, of preset `tiny`."""
    with as_file(files(__package__) / SHIPPED) as path:
        return unpack(path, device)


def unpack(path: Path, device: str = "cpu") -> Avatar:
    """What `pack` wrote of a generator of preset `tiny`."""
    generator = build_generator(CONFIG)
    load_weights(generator, {name: value.float() for name, value in load_tensors(path).items()}, path)
    return Avatar(CONFIG, generator.to(torch.device(device)).eval().requires_grad_(False))


def open_avatar(run: Path | None) -> Avatar:
    """The avatar of a run, or the shipped one."""
    return shipped_avatar() if run is None else Avatar.from_run(run)
