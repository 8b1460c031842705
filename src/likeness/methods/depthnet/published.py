"""Checkpoints of any origin: the shipped weights, a run of ours, a published pickle; all read as tensors only."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likeness.engine import Run, load_tensors, load_weights
from likeness.errors import UserError
from likeness.methods.depthnet.aign import AignGenerator, Placement, SpectralCritic
from likeness.methods.depthnet.networks import Critic, FixedAffineGenerator, Generator, LearnedAffineGenerator

SHIPPED = "weights/depthnet_gan_synthetic.safetensors"

State = Mapping[str, Tensor]

ARCHITECTURES = {
    "shallowd5": "DepthNet with the affine in closed form",
    "sd5_learnm": "DepthNet with a learned affine",
    "aign": "AIGN",
    "cyclegan": "CycleGAN repair",
}

GENERATORS: dict[str, type[FixedAffineGenerator] | type[LearnedAffineGenerator] | type[AignGenerator]] = {
    "shallowd5": FixedAffineGenerator,
    "sd5_learnm": LearnedAffineGenerator,
    "aign": AignGenerator,
}


@dataclass(frozen=True)
class PublishedCheckpoint:
    """What an original's file holds: states by the network's name, and what it says of its training."""

    architecture: str
    """One of `ARCHITECTURES`."""
    networks: dict[str, dict[str, Tensor]]
    """"generator" and "critic"; of a CycleGAN "g_atob", "g_btoa", "d_a", "d_b"."""
    optimizers: dict[str, dict[str, Any]]
    """Adam states of "generator" and "critic" where the file has them, by the parameters' order."""
    epoch: int | None


def load_generator(path: str | Path | None = None) -> Generator:
    """A DepthNet generator in eval mode.

    Args:
        path: a run folder, one of our checkpoints (`.pth`, `.safetensors`) or a published pickle; None for the weights
            that ship with the package (DepthNet+GAN, trained on synthetic faces cut square around the landmarks).

    Raises:
        UserError: absent or unreadable file, or one of another architecture.
    """
    network = load_network(path)
    if isinstance(network, AignGenerator):
        raise UserError(
            "holds a network of AIGN, expected a DepthNet generator (keys fc.*, or extractor.* with fc_z and fc_m)",
            path=path,
        )
    return network


def load_network(path: str | Path | None = None, which: str = "last") -> Generator | AignGenerator:
    """The generator, DepthNet's or AIGN's, that `path` holds (see `load_generator`), in eval mode.

    Args:
        which: of a run, the checkpoint: `last`, `best` or an epoch.
    """
    source = Path(str(files("likeness.methods.depthnet") / SHIPPED)) if path is None else Path(path)
    placement: Placement = "original"
    if source.is_dir():
        run = Run.open(source, "depthnet")
        placement = run.header()["config"].get("heatmaps", placement)
        checkpoints = run.checkpoints
        source = checkpoints.path(checkpoints.find(which), "generator")
    content = load_tensors(source)
    plain = isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values())
    state = content if plain else as_published(content, source).networks.get("generator", {"model.": torch.empty(0)})
    architecture = recognise(state, source)
    if architecture == "cyclegan":
        raise UserError("holds a CycleGAN of repair, expected a generator of DepthNet or AIGN", path=source)
    network = GENERATORS[architecture]()
    if isinstance(network, AignGenerator):
        network.placement = placement
    load_weights(network, state, source)
    return network.eval()


def read_published(path: str | Path) -> PublishedCheckpoint:
    """Read a published file: a dict g, d, optim_g, optim_d, epoch; a tuple (g, d); or a CycleGAN's tuple of four."""
    return as_published(load_tensors(path), path)


def as_published(content: Any, path: str | Path) -> PublishedCheckpoint:
    """Sort the content of a published file into named networks and check their keys and shapes."""
    optimizers: dict[str, dict[str, Any]] = {}
    epoch = None
    if isinstance(content, Mapping) and {"g", "d"} <= set(content):
        networks = {"generator": content["g"], "critic": content["d"]}
        for ours, theirs in (("generator", "optim_g"), ("critic", "optim_d")):
            if theirs in content:
                optimizers[ours] = content[theirs]
        epoch = content.get("epoch")
    elif isinstance(content, tuple | list) and len(content) == 2:
        networks = {"generator": content[0], "critic": content[1]}
    elif isinstance(content, tuple | list) and len(content) == 4:
        networks = dict(zip(("g_atob", "g_btoa", "d_a", "d_b"), content))
    else:
        found = (
            f"a dict with {sorted(map(str, content))[:6]}" if isinstance(content, Mapping) else type(content).__name__
        )
        raise UserError(
            f"holds {found}, expected a dict with g and d, a tuple (g, d), or a tuple of four CycleGAN networks",
            path=path,
        )
    for name, state in networks.items():
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise UserError(f"its network {name} is no state of tensors", path=path)
    architecture = recognise(next(iter(networks.values())), path)
    if (architecture == "cyclegan") != (len(networks) == 4):
        raise UserError(
            f"holds {len(networks)} networks of {ARCHITECTURES[architecture]}: not a file we know", path=path
        )
    checkpoint = PublishedCheckpoint(architecture, {k: dict(v) for k, v in networks.items()}, optimizers, epoch)
    if architecture != "cyclegan":
        for network, name in zip(build_networks(checkpoint), ("generator", "critic")):
            load_weights(network, checkpoint.networks[name], path)
    return checkpoint


def build_networks(checkpoint: PublishedCheckpoint) -> tuple[nn.Module, nn.Module]:
    """Fresh generator and critic of the checkpoint's architecture (the spectral critic where its keys say so)."""
    spectral = any(key.endswith("weight_bar") for key in checkpoint.networks["critic"])
    return GENERATORS[checkpoint.architecture](), SpectralCritic() if spectral else Critic()


def recognise(state: State, path: str | Path | None = None) -> str:
    """Name the architecture of a generator's state by its keys: one of `ARCHITECTURES`."""
    keys = set(state)
    if "fc.21.weight" in keys:
        return "shallowd5"
    if "fc_m.weight" in keys and "extractor.0.weight" in keys:
        return "sd5_learnm"
    if "extractor.0.weight" in keys and state["extractor.0.weight"].ndim == 4:
        return "aign"
    if any(key.startswith("model.") for key in keys):
        return "cyclegan"
    raise UserError(
        f"is of no architecture we know (keys {', '.join(sorted(keys)[:4])}...): expected fc.* (closed-form affine), "
        "extractor.* with fc_m (learned affine), four-dimensional extractor.* (AIGN) or model.* (CycleGAN)",
        path=path,
    )
