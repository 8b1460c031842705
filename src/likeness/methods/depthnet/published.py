"""Checkpoints of any origin: the shipped weights, a run of ours, a published pickle; all read as tensors only."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from likeness.errors import UserError
from likeness.methods.depthnet.aign import AignGenerator, SpectralCritic
from likeness.methods.depthnet.networks import Critic, FixedAffineGenerator, Generator, LearnedAffineGenerator

SHIPPED = "weights/depthnet_gan_synthetic.safetensors"

State = Mapping[str, Tensor]

ARCHITECTURES = {
    "shallowd5": "DepthNet with the affine in closed form",
    "sd5_learnm": "DepthNet with a learned affine",
    "aign": "AIGN",
    "cyclegan": "CycleGAN repair",
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
    if path is None:
        with_weights = files("likeness.methods.depthnet") / SHIPPED
        state = load_file(str(with_weights))
    else:
        state = generator_state(path)
    architecture = recognise(state, path)
    if architecture not in ("shallowd5", "sd5_learnm"):
        raise UserError(
            f"holds a network of {ARCHITECTURES[architecture]}, expected a DepthNet generator (keys fc.* or extractor.*"
            " with fc_z and fc_m)",
            path=path,
        )
    generator: Generator = FixedAffineGenerator() if architecture == "shallowd5" else LearnedAffineGenerator()
    load_state(generator, state, path)
    return generator.eval()


def generator_state(path: str | Path) -> State:
    """The generator's state from a run folder, a checkpoint of ours or a published file."""
    path = Path(path)
    if path.is_dir():
        path = _newest_generator(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(str(path))
        except Exception as error:
            raise UserError(f"is no safetensors file ({error})", path=path) from error
    content = read_tensors(path)
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return content
    return as_published(content, path).networks["generator"]


def read_tensors(path: str | Path) -> Any:
    """Unpickle tensors and plain containers only (zip and pre-1.6 files alike).

    Raises:
        UserError: absent or broken file, or one that wants to run code.
    """
    path = Path(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError("no such checkpoint", path=path) from None
    except IsADirectoryError:
        raise UserError("is a folder, expected a checkpoint file", path=path) from None
    except pickle.UnpicklingError as error:
        raise UserError(
            "is no checkpoint of tensors and plain containers, and was not opened further: a pickle can run any code. "
            f"({str(error).splitlines()[0]})",
            path=path,
        ) from error
    except Exception as error:
        raise UserError(f"is empty, half-written or no torch checkpoint ({error})", path=path) from error


def read_published(path: str | Path) -> PublishedCheckpoint:
    """Read a published file: a dict g, d, optim_g, optim_d, epoch; a tuple (g, d); or a CycleGAN's tuple of four."""
    return as_published(read_tensors(path), path)


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
            load_state(network, checkpoint.networks[name], path)
    return checkpoint


def build_networks(checkpoint: PublishedCheckpoint) -> tuple[nn.Module, nn.Module]:
    """Fresh generator and critic of the checkpoint's architecture (the spectral critic where its keys say so)."""
    spectral = any(key.endswith("weight_bar") for key in checkpoint.networks["critic"])
    generators = {"shallowd5": FixedAffineGenerator, "sd5_learnm": LearnedAffineGenerator, "aign": AignGenerator}
    return generators[checkpoint.architecture](), SpectralCritic() if spectral else Critic()


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


def load_state(network: nn.Module, state: State, path: str | Path | None = None) -> None:
    """Load `state` after checking its keys and shapes; `num_batches_tracked`, which old files lack, may be absent."""
    own = network.state_dict()
    needed = {key for key in own if not key.endswith("num_batches_tracked")}
    missing, surplus = sorted(needed - set(state)), sorted(set(state) - set(own))
    wrong = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if missing or surplus or wrong:
        parts = [
            f"{what} {', '.join(names[:3])}"
            for what, names in (("lacks", missing), ("has besides", surplus), ("has shapes", wrong))
            if names
        ]
        raise UserError(f"does not fit {type(network).__name__}: it {'; it '.join(parts)}", path=path)
    network.load_state_dict({**own, **state})


def _newest_generator(run: Path) -> Path:
    folder = run / "checkpoints" if (run / "checkpoints").is_dir() else run
    found = sorted(folder.glob("*_generator.pth"))
    if not found:
        raise UserError("holds no checkpoints/<epoch>_generator.pth: expected the folder of a depthnet run", path=run)
    return max(found, key=lambda file: (int(file.name.split("_")[0].split("-")[0]), file.stat().st_mtime))
