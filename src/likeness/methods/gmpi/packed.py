"""A small generator as one file: of preset `tiny`, its weights alone, in half precision. One ships with the package."""

from importlib.resources import as_file, files
from pathlib import Path

from safetensors.torch import save_file

from likeness.engine import load_tensors, load_weights
from likeness.files import atomic_path
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.config import GMPI_PRESETS
from likeness.methods.gmpi.method import build_generator

SHIPPED = "weights/gmpi_synthetic.safetensors"
"""Made by the command that docs/gmpi.md names."""
CONFIG = GMPI_PRESETS["tiny"]


def pack(avatar: Avatar, path: Path) -> None:
    """Write the weights of an avatar of preset `tiny` to a .safetensors file."""
    state = {name: value.cpu().half().contiguous() for name, value in avatar.generator.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)


def unpack(path: Path) -> Avatar:
    """What `pack` wrote.

    Raises:
        UserError: absent, unreadable, or of another architecture.
    """
    generator = build_generator(CONFIG)
    load_weights(generator, {name: value.float() for name, value in load_tensors(path).items()}, path)
    return Avatar(CONFIG, generator.eval().requires_grad_(False))


def open_avatar(source: Path | None) -> Avatar:
    """The avatar of a run, or of a file that `pack` wrote; None for the one that ships."""
    if source is None:
        with as_file(files(__package__) / SHIPPED) as path:
            return unpack(path)
    return unpack(source) if source.suffix == ".safetensors" else Avatar.from_run(source)
