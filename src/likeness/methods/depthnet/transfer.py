"""Between the original's checkpoint files and our runs: `likeness import` and `likeness export --layout original`."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from safetensors.torch import save_file

from likeness.engine import Checkpoints, OptimizerSpec, Run, Tag, Updates, load_weights
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.depthnet.config import AIGN_PRESETS, PRESETS, AignConfig, DepthConfig
from likeness.methods.depthnet.published import ARCHITECTURES, build_networks, load_network, read_published

ORIGINAL_OPTIMIZERS = {"generator": "optim_g", "critic": "optim_d"}


@dataclass(frozen=True)
class ImportConfig:
    """Bring a published checkpoint into a run, without running anything it holds."""

    file: Annotated[Path, tyro.conf.Positional]
    """The published `.pkl`: a dict g, d, optim_g, optim_d, epoch, or a tuple (g, d)."""
    out: Path
    """The run's folder, which must not exist."""
    data: Path = Path("3dfaw")
    """Folder of prepared landmarks, written into the run's configuration for evaluation and further training."""


def import_published(config: ImportConfig) -> None:
    """Write the run and say which architecture was recognised.

    Raises:
        UserError: not a checkpoint of DepthNet or AIGN, or `out` exists already.
    """
    checkpoint = read_published(config.file)
    if checkpoint.architecture == "cyclegan":
        raise UserError(
            "holds the four networks of a CycleGAN: give it to `likeness repair apply --run`, which reads it directly",
            path=config.file,
        )
    if config.out.exists():
        raise UserError("exists already: choose another --out", path=config.out)
    generator, critic = build_networks(checkpoint)
    load_weights(generator, checkpoint.networks["generator"], config.file)
    load_weights(critic, checkpoint.networks["critic"], config.file)
    stage, settings = _settings(checkpoint.architecture, spectral=type(critic).__name__ == "SpectralCritic")
    out = config.out.resolve()
    home = out.parent.parent if out.parent.name == "runs" else out.parent
    settings = dataclasses.replace(settings, data=config.data, experiment_dir=home, experiment_name=out.name)
    networks = {"generator": generator, "critic": critic}
    specs = {name: OptimizerSpec(factory=_adam(settings), networks=(name,)) for name in networks}
    updates = Updates(networks, specs, {})
    for name, state in checkpoint.optimizers.items():
        _restore(updates.optimizers[name], state, config.file)
    epoch = checkpoint.epoch or 0
    run = Run(config.out)
    argv = ["likeness", "import", "depthnet", str(config.file)]
    run.record("depthnet", stage, (str(config.file),), settings, argv)
    progress: dict[str, Any] = {"epoch": epoch + 1, "position": 0, "update_count": 0, "spent": 0.0, "best": None}
    progress |= {name: {} for name in ("refreshes", "stage", "sums", "counts", "rejections", "history")}
    run.checkpoints.save(Tag(epoch), networks, {**progress, "optimizers": updates.state_dict()})
    run.checkpoints.index(None)
    adam = " with its optimisers" if checkpoint.optimizers else ""
    print(f"{config.file}: {ARCHITECTURES[checkpoint.architecture]}, epoch {epoch}{adam}; now the run {config.out}")


@dataclass(frozen=True, kw_only=True)
class LayoutConfig:
    """Write a run in another layout."""

    run: Path
    """The run."""
    out: Path
    """Folder to write (`original`: `<save_path>/<name>`), or the `.safetensors` file (`weights`)."""
    layout: Literal["original", "weights"] = "original"
    """`original`: models/<epoch>.pkl, results.txt, vis/; `weights`: the last generator alone, as the package has it."""


def export_layout(config: LayoutConfig) -> None:
    """Write every finished checkpoint as a dict g, d, optim_g, optim_d, epoch (AIGN: a tuple g, d), or bare weights."""
    run = Run.open(config.run, "depthnet")
    if config.layout == "weights":
        with atomic_path(config.out) as temporary:
            save_file(load_network(config.run).state_dict(), temporary)
        print(f"{config.out}: the generator of {config.run}")
        return
    header = run.header()
    if header.get("method") != "depthnet" or header.get("stage") not in ("depth", "aign"):
        raise UserError("is no run of DepthNet or AIGN", path=config.run)
    checkpoints = run.checkpoints
    tags = [tag for tag in checkpoints.whole() if tag.update is None]
    if not tags:
        raise UserError("has no checkpoint at an epoch's end: train it further", path=config.run)
    for tag in tags:
        with atomic_path(config.out / "models" / f"{tag}.pkl") as temporary:
            torch.save(_original_content(checkpoints, tag, header["stage"] == "aign"), temporary)
    for name in ("results.txt", "vis"):
        source = run.folder / name
        for path in sorted(source.rglob("*")) if source.is_dir() else [source] * source.is_file():
            with atomic_path(config.out / path.relative_to(run.folder)) as temporary:
                shutil.copyfile(path, temporary)
    print(f"{config.out}: models {', '.join(f'{tag}.pkl' for tag in tags)}")


def _original_content(checkpoints: Checkpoints, tag: Tag, aign: bool) -> Any:
    g, d = (torch.load(checkpoints.path(tag, name), weights_only=True) for name in ("generator", "critic"))
    if aign:
        return g, d
    optimizers = checkpoints.load_state(tag)["optimizers"]
    states = {theirs: optimizers[ours] for ours, theirs in ORIGINAL_OPTIMIZERS.items()}
    return {"g": g, "d": d, **states, "epoch": tag.epoch}


def _settings(architecture: str, spectral: bool) -> tuple[str, DepthConfig | AignConfig]:
    if architecture == "aign":
        return "aign", dataclasses.replace(AIGN_PRESETS["exp1_lamb100"], spectral=spectral)
    name = "exp1_lamb1_sd5_wgan_dnorm0.1_" + ("learnm" if architecture == "sd5_learnm" else "sigma0_fixm")
    return "depth", dataclasses.replace(PRESETS[name], spectral=spectral)


def _adam(settings: DepthConfig | AignConfig) -> Any:
    betas = (settings.beta1, settings.beta2)
    return lambda parameters: torch.optim.Adam(parameters, settings.lr, betas, fused=True)


def _restore(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: Path) -> None:
    """Take over an Adam state of any torch version, whatever it numbers its parameters by."""
    ours = optimizer.state_dict()
    try:
        theirs = [index for group in state["param_groups"] for index in group["params"]]
        numbers = dict(zip(theirs, range(len(theirs)), strict=True))
        moments = {
            numbers[index]: {key: torch.as_tensor(value, dtype=torch.float32) for key, value in entry.items()}
            for index, entry in state["state"].items()
        }
        settings = {key: state["param_groups"][0][key] for key in ("lr", "betas", "eps", "weight_decay")}
        optimizer.load_state_dict({"state": moments, "param_groups": [{**ours["param_groups"][0], **settings}]})
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"holds an optimiser's state that is not Adam's ({error})", path=path) from error
