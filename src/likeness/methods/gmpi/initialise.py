"""Starting GMPI from a 2-D StyleGAN2, by one rule for a published pickle and for a run of ours."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from likeness.engine import Run, load_tensors
from likeness.errors import UserError
from likeness.methods.gmpi.pickles import read_stylegan2


def read_source(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """State dictionaries `G_ema` and `D` of a StyleGAN2 `.pkl`, or of a run of the stylegan2 stage."""
    path = Path(path)
    if not path.is_dir():
        return read_stylegan2(path)
    run = Run.open(path)
    if run.header().get("stage") != "stylegan2":
        raise UserError(
            f"is a run of stage {run.header().get('stage')!r}, expected a run of stage stylegan2", path=path
        )
    tag = run.checkpoints.find("last")
    files = {"G_ema": "ema", "D": "discriminator"}
    return {name: load_tensors(run.checkpoints.path(tag, network)) for name, network in files.items()}


def transfer(source: Mapping[str, Tensor], target: nn.Module, path: str | Path) -> list[str]:
    """Copy every parameter and buffer of `source` onto the entry of that name in `target`.

    A row vector onto several rows (the discriminator's `b4.out`, one row onto one a pose feature) is repeated: the
    score then starts as the 2-D score times the sum of the pose's embedding.

    Returns:
        Names in `target` that `source` does not have and that keep their random start.

    Raises:
        UserError: a name or a shape that `target` has no place for.
    """
    state = target.state_dict()
    for name, value in source.items():
        if name not in state:
            raise UserError(f"holds {name}, which this network has no place for: is it another resolution?", path=path)
        place = state[name]
        repeated = name.startswith("b4.out.") and value.shape[0] == 1 and value.shape[1:] == place.shape[1:]
        if value.shape != place.shape and not repeated:
            raise UserError(
                f"holds {name} of shape {list(value.shape)}, expected {list(place.shape)}: is it another resolution or "
                "channel_base?",
                path=path,
            )
        with torch.no_grad():
            place.copy_(value)
    return [name for name in state if name not in source]


def start_from(path: str | Path, generator: nn.Module, discriminator: nn.Module) -> list[str]:
    """Initialise both networks from `path`; returns what was left at its random start."""
    source = read_source(path)
    return transfer(source["G_ema"], generator, path) + transfer(source["D"], discriminator, path)
