"""`likeness repair train|test|apply`."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from likeness.engine import Run, evaluating, iterate, load_tensors, load_weights, train
from likeness.engine.averages import Averages
from likeness.engine.context import Context
from likeness.engine.updates import Updates
from likeness.errors import UserError
from likeness.media.image import read_uint8, write_image
from likeness.methods.depthnet.published import read_published
from likeness.methods.depthnet.repair.archives import SIDE, as_network_input
from likeness.methods.depthnet.repair.config import CHANNELS, RepairConfig, Task
from likeness.methods.depthnet.repair.method import RepairStage
from likeness.methods.depthnet.repair.networks import RepairGenerator


@dataclass(frozen=True, kw_only=True)
class TestConfig:
    """Measure a run on the held-out pictures of its archives and show them."""

    run: Path
    """The run of `likeness repair train`."""
    out: Path
    """Folder of the pictures."""
    data: tuple[Path, ...] | None = None
    """Other archives than the run's."""


@dataclass(frozen=True, kw_only=True)
class ApplyConfig:
    """Repair one picture."""

    run: Path
    """A run, or a published file of four networks."""
    warp: Path
    """background: the warped face on black; faceswap: the face pasted over another (`likeness overlay`)."""
    out: Path
    """The repaired picture, 80 x 80."""
    background: Path | None = None
    """background: the picture whose surroundings stay, with the face blackened."""


def repair_train(config: RepairConfig) -> None:
    """Train the CycleGAN of one task; `likeness train depthnet --stage repair` is the same with presets."""
    argv = ["likeness", "repair", "train"]
    run = train(RepairStage, config, method="depthnet", stage="repair", argv=argv)
    print(f"finished: {run.folder}")


def repair_test(config: TestConfig) -> None:
    """Print the losses on held-out pictures and write one grid a batch."""
    run = Run.open(config.run, "depthnet", "repair")
    settings = run.config(RepairConfig)
    stage = RepairStage(settings if config.data is None else replace(settings, data=config.data))
    for name, network in stage.networks.items():
        run.load(name, network)
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    ctx = Context(updates, Averages({}, {}), seed=0, splits=1, device=torch.device("cpu"), rank=0, world=1)
    held_out = stage.batches("valid", 0, 1)
    if len(held_out) == 0:
        raise UserError("the archives hold too few pictures to keep any back: 5 % are held out", path=config.run)
    for name, value in stage.validate(ctx).items():
        print(f"{name} {value:.6f}")
    with evaluating(stage.networks), torch.no_grad():
        for number, batch in enumerate(iterate(held_out)):
            picture = stage.visuals(batch, ctx)["grid"]
            write_image(config.out / f"{number:04d}.png", picture, synthetic=True)
    print(config.out)


def repair_apply(config: ApplyConfig) -> None:
    """Write the repaired picture.

    Raises:
        UserError: weights of another architecture, or a background that is missing or not wanted.
    """
    generator, task = load_repair_generator(config.run)
    if (task == "background") != (config.background is not None):
        need = "needs --background (the picture with its face blackened)" if task == "background" else "takes none"
        raise UserError(f"is a generator of the task {task}, which {need}", path=config.run)
    pictures = [_at_size(read_uint8(path)) for path in (config.warp, config.background) if path is not None]
    write_image(config.out, repair(generator, np.concatenate(pictures, axis=-1)), synthetic=True)
    print(config.out)


def repair(generator: RepairGenerator, picture: np.ndarray) -> Tensor:
    """(3, 80, 80) in [0, 1] from uint8 (80, 80, 6 or 3)."""
    with torch.no_grad():
        return ((generator(as_network_input(picture[None]))[0] + 1) / 2).clamp(0, 1)


def load_repair_generator(source: Path) -> tuple[RepairGenerator, Task]:
    """The generator from warps to faces, of a run, one of our checkpoints or a published tuple; in evaluation mode."""
    if source.is_dir():
        run = Run.open(source, "depthnet", "repair")
        state = load_tensors(run.checkpoints.path(run.checkpoints.find(), "g_atob"))
    elif source.suffix == ".pth":
        state = load_tensors(source)
    else:
        checkpoint = read_published(source)
        if checkpoint.architecture != "cyclegan":
            raise UserError(f"holds {checkpoint.architecture}, expected the four networks of a CycleGAN", path=source)
        state = checkpoint.networks["g_atob"]
    if "model.1.weight" not in state:
        raise UserError("holds no CycleGAN generator (keys model.*)", path=source)
    width, channels = state["model.1.weight"].shape[:2]
    blocks = len({key.split(".")[1] for key in state if ".conv_block." in key})
    generator = RepairGenerator(channels, 3, width, blocks)
    load_weights(generator, state, source)
    task: Task = "background" if channels == CHANNELS["background"][0] else "faceswap"
    return generator.eval(), task


def _at_size(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
