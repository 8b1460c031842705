"""Weights as the published training wrote them: one file a network, `<epoch>_<network>.pth`, spectral norms stored.

Each normalised layer is `weight_orig`, `bias`, `weight_u`, `weight_v`. Files of the first torch versions lack
`weight_v` and may carry a redundant `weight`; v is then solved from u.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn

from likeness.engine import Run, Tag, load_tensors, load_weights
from likeness.errors import UserError
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
    """Files `<epoch>_<network>.pth`, or folders that hold them."""
    out: Path
    """Folder of the new run."""
    preset: str = "paper"
    """Preset whose sizes the weights have."""
    image_size: int = 256
    """Height of the pictures that the weights were trained on."""


def import_published(config: ImportConfig) -> None:
    """Import published weights: the four base networks, and enhancer and discriminator where they are given.

    Raises:
        UserError: a base network is missing, or a file does not fit.
    """
    if config.preset not in PRESETS:
        raise UserError(f"there is no preset {config.preset!r}: choose {', '.join(PRESETS)}")
    chosen: dict[str, Path] = {}
    for source in config.files:
        if not source.exists():
            raise UserError("no such file or folder", path=source)
        for name in ALL:
            path = find_network_file(source, name)
            if path is not None:
                chosen[name] = path
    networks = {}
    settings = BilayerConfig(
        **{
            **{f: getattr(PRESETS[config.preset], f) for f in PRESETS[config.preset].__dataclass_fields__},
            "image_size": config.image_size,
            "enh_bottleneck_tensor_size": min(128, config.image_size // 2),
            "experiment_dir": config.out.parent.parent if config.out.parent.name == "runs" else config.out.parent,
            "experiment_name": config.out.name,
            "devices": 1,
            "batch_size": 1,
        }
    )
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
