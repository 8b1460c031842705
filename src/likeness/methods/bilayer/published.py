"""Weights as the published training wrote them: one file a network, `<epoch>_<network>.pth`, spectral norms stored.

Each normalised layer is `weight_orig`, `bias`, `weight_u`, `weight_v`. Files of the first torch versions lack
`weight_v` and may carry a redundant `weight`; v is then solved from u.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likeness.engine import Run, Tag, load_tensors, load_weights
from likeness.errors import UserError
from likeness.methods.bilayer.compat import read_sizes
from likeness.methods.bilayer.config import PRESETS, BilayerConfig, EnhancerConfig
from likeness.methods.bilayer.networks import ALL, build_network

SHIPPED = Path(str(files("likeness.methods.bilayer"))) / "weights" / "heads64"
"""The run that comes with the package."""

PROJECTOR_INPUT = re.compile(r"\.fc_blocks\.\d+\.\d+\.0\.weight$")


def complete(weights: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Add the `weight_v` that an old file lacks and drop the `weight` that it repeats.

    Raises:
        UserError: the file is no dictionary of tensors.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError("expected one network's weights, a dictionary of tensors", path=path)
    result = dict(weights)
    for key, u in weights.items():
        if not key.endswith("weight_u"):
            continue
        stem = key.removesuffix("_u")
        if f"{stem}_orig" not in weights:
            raise UserError(f"has {key} but no {stem}_orig: the file is not whole", path=path)
        redundant = result.pop(stem, None)
        if f"{stem}_v" not in result:
            result[f"{stem}_v"] = _solve_v(weights[f"{stem}_orig"], u, redundant)
    return result


def _solve_v(original: Tensor, u: Tensor, used: Tensor | None) -> Tensor:
    """The v with `u^T W v = sigma`, on the line that such a file leaves open: along `W^T u`."""
    matrix = original.flatten(1).double()
    direction = matrix.T @ u.double()
    if used is None:
        return (direction / direction.norm()).to(original.dtype)
    # The file's own quotient says which sigma it was trained with.
    sigma = (matrix.flatten() @ matrix.flatten()) / (matrix.flatten() @ used.flatten().double())
    inverse = torch.linalg.pinv(matrix.T @ matrix)
    v = inverse @ direction
    return (v * (sigma / (u.double() @ (matrix @ v)))).to(original.dtype)


def load_network_weights(network: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Fill a network from a file's content, old layouts included; shapes and names are checked."""
    content = complete(weights, path)
    expected = network.state_dict()
    if "identity_grid" in expected:
        content.setdefault("identity_grid", expected["identity_grid"])
    for key, weight in content.items():
        if PROJECTOR_INPUT.search(key) and key in expected and weight.shape != expected[key].shape:
            content[key] = spread(weight, expected[key].shape[1])
    load_weights(network, content, path)


def compact(weight: Tensor, size: int) -> Tensor:
    """A projector's first weight (hidden, s * s) -> (hidden, size * size), the sums over equal inputs.

    The embedding's `size` x `size` pixels are repeated to s x s before they reach this layer.
    """
    side = int(weight.shape[1] ** 0.5)
    if side * side != weight.shape[1] or side % size:
        return weight
    return nn.functional.avg_pool2d(weight.view(1, -1, side, side), side // size, divisor_override=1).flatten(2)[0]


def spread(weight: Tensor, inputs: int) -> Tensor:
    """The inverse of `compact`: every sum is shared evenly; weights that do not divide so are left alone."""
    size, side = int(weight.shape[1] ** 0.5), int(inputs**0.5)
    if size * size != weight.shape[1] or side * side != inputs or side % size:
        return weight
    repeat = side // size
    shared = weight.float().view(-1, size, size) / repeat**2
    return shared.repeat_interleave(repeat, 1).repeat_interleave(repeat, 2).flatten(1)


def run_folder(run: str | Path) -> Path:
    """The folder of a run; `shipped` names the one that comes with the package, unless there is a folder so called."""
    folder = Path(run)
    return SHIPPED if str(run) == "shipped" and not folder.exists() else folder


def read_run_config(run: str | Path) -> BilayerConfig:
    """The configuration of a run of either stage.

    Raises:
        UserError: no run, or one of another method.
    """
    opened = Run.open(run, "bilayer")
    return opened.config(EnhancerConfig if opened.header().get("stage") == "enhancer" else BilayerConfig)


def find_network_file(folder: str | Path, name: str, which: str = "last") -> Path | None:
    """The file of a network in a run or in a folder with `checkpoints/`; `last` takes the highest epoch."""
    folder = Path(folder)
    if folder.is_file():
        return folder if folder.stem.endswith(name) else None
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    found: dict[str, Path] = {}
    for path in (*folder.glob(f"*_{name}.pth"), *folder.glob(f"*_{name}.safetensors")):
        match = re.fullmatch(rf"(\d+(?:-\d+)?)_{name}", path.stem)
        if match:
            found[match[1]] = path
    if which in ("last", "best") and found:
        return found[max(found, key=lambda tag: [int(part) for part in tag.split("-")])]
    return found.get(which)


@dataclass
class ImportConfig:
    """Import published weights into a run that every other command takes."""

    files: tuple[Path, ...]
    """Files `<epoch>_<network>.pth`, or folders that hold them: the original's runs/NAME, or its checkpoints/."""
    out: Path
    """Folder of the new run."""
    preset: str | None = None
    """Preset whose sizes the weights have; default: what `args.txt` of the original's run says, else `paper`."""
    image_size: int | None = None
    """Height of the pictures that the weights were trained on, where it is another than that."""


def import_published(config: ImportConfig) -> None:
    """Import published weights: the four base networks, and enhancer and discriminator where they are given.

    Raises:
        UserError: a base network is missing, or a file does not fit.
    """
    chosen: dict[str, Path] = {}
    for source in config.files:
        if not source.exists():
            raise UserError("no such file or folder", path=source)
        for name in ALL:
            path = find_network_file(source, name)
            if path is not None:
                chosen[name] = path
    networks = {}
    settings = _settings(config)
    missing = [name for name in ALL[:4] if name not in chosen]
    if missing:
        raise UserError(f"found no file for {', '.join(missing)}: expected names such as 2225_{missing[0]}.pth")
    for name, path in chosen.items():
        networks[name] = build_network(name, settings, spectral_norm=name in settings.spn_networks)
        load_network_weights(networks[name], load_tensors(path), path)
        print(f"{name}: {path.name}")
    run = Run(config.out)
    run.record(
        "bilayer", "base", tuple(str(path) for path in chosen.values()), settings, ["likeness", "import", "bilayer"]
    )
    run.checkpoints.save(Tag(1), networks, {})
    run.checkpoints.index(None)
    print(f"imported: {config.out}")


def _settings(config: ImportConfig) -> BilayerConfig:
    """Sizes of a preset or of the `args.txt` beside the files, overridden by the options."""
    preset = config.preset or "paper"
    if preset not in PRESETS:
        raise UserError(f"there is no preset {preset!r}: choose {', '.join(PRESETS)}")
    written = {} if config.preset else _written_sizes(config.files)
    size = config.image_size or written.get("image_size") or PRESETS[preset].image_size
    within_runs = config.out.parent.name == "runs"
    sizes: dict[str, Any] = {"enh_bottleneck_tensor_size": min(128, size // 2)} | written | {"image_size": size}
    return dataclasses.replace(
        PRESETS[preset],
        **sizes,
        experiment_dir=config.out.parent.parent if within_runs else config.out.parent,
        experiment_name=config.out.name,
        devices=1,
        batch_size=1,
    )


def _written_sizes(sources: Sequence[Path]) -> dict[str, Any]:
    for source in sources:
        folder = source if source.is_dir() else source.parent
        folder = folder.parent if folder.name == "checkpoints" else folder
        if (folder / "config.yaml").is_file():
            raise UserError("is a run of ours, which needs no import: give it as --run", path=folder)
        if (folder / "args.txt").is_file():
            return read_sizes(folder / "args.txt")
    return {}
