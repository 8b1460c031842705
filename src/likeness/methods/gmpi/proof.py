"""`likeness prove gmpi`: the whole road on the synthetic stage, measured on people that training has not seen."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from likeness.capture.gmpi import GmpiCapture, capture_gmpi
from likeness.engine import EngineConfig, Run, Stage, train
from likeness.methods.gmpi.animate import AnimateConfig, ExportConfig, animate, export
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.config import GMPI_PRESETS, STYLEGAN2_PRESETS
from likeness.methods.gmpi.method import GMPIStage
from likeness.methods.gmpi.packed import pack
from likeness.methods.gmpi.stylegan2 import StyleGAN2Stage
from likeness.methods.gmpi.truth import STEPS, TruthReport, measure_truth

HELD_OUT_SEED = 10_000
"""Added to the seed for the people that are measured: no person is in both sets."""


@dataclass(frozen=True, kw_only=True)
class ProveConfig:
    """Take synthetic portraits, train the 2-D GAN and GMPI on them, and measure it on others against the truth."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder to write: runtime_dataset/ and held_out/ (portraits), runs/ (both trainings), samples/, truth/."""
    seed: int = 0
    """Of the people and the trainings."""
    pictures: int = 800
    """Portraits to train on."""
    people: int = 24
    """Whom they show."""
    flat_updates: int | None = STYLEGAN2_PRESETS["stylegan2-tiny"].max_updates
    """Updates of the 2-D GAN."""
    updates: int | None = GMPI_PRESETS["tiny"].max_updates
    """Updates of GMPI."""
    measured: int = 4
    """Portraits of other people to fit and measure."""
    fit_steps: tuple[int, int] = STEPS
    """Steps of the fit's style and of its generator."""
    pose_steps: int = 6
    """Steps of the fit at every pose that is tried."""
    weights: Path | None = None
    """Also write the generator to this small .safetensors file, which `--run` of the other verbs takes."""


def prove(config: ProveConfig) -> list[TruthReport]:
    """Capture, train, show and measure; writes samples/ (pictures, video, page, mesh) and truth/truth.json."""
    side = GMPI_PRESETS["tiny"].resolution
    data, held_out = config.out / "runtime_dataset", config.out / "held_out"
    taken: dict[str, Any] = dict(resolution=side, people=config.people)
    capture_gmpi(GmpiCapture(out=data, pictures=config.pictures, seed=config.seed, **taken))
    other = config.seed + HELD_OUT_SEED
    capture_gmpi(GmpiCapture(out=held_out, pictures=config.measured, seed=other, **taken))
    shared: dict[str, Any] = dict(experiment_dir=config.out, data=data, seed=config.seed)
    flat = replace(STYLEGAN2_PRESETS["stylegan2-tiny"], **shared, max_updates=config.flat_updates)
    parent = train_stage(StyleGAN2Stage, flat, "stylegan2")
    deep = replace(GMPI_PRESETS["tiny"], **shared, max_updates=config.updates, pretrained=parent.folder)
    run = train_stage(GMPIStage, deep, "gmpi")
    samples = config.out / "samples"
    animate(AnimateConfig(run=run.folder, output_dir=samples, truncation_psi=0.7))
    export(ExportConfig(run=run.folder, out=samples, to="glb", truncation_psi=0.7))
    avatar = Avatar.from_run(run.folder)
    if config.weights is not None:
        pack(avatar, config.weights)
    return measure_truth(
        avatar, config.out / "truth", config.measured, config.fit_steps, config.pose_steps, data=held_out
    )


def train_stage(kind: type[Stage], config: EngineConfig, stage: str) -> Run:
    """Train, or go on with, one stage."""
    return train(kind, config, method="gmpi", stage=stage, argv=["likeness", "prove", "gmpi"])
