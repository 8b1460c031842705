"""GMPI's section of the demo page: synthetic portraits, a small StyleGAN2, GMPI, and what it shows."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from likeness.capture.gmpi import GmpiCapture, capture_gmpi
from likeness.engine import EngineConfig, Run, Stage, train
from likeness.media.image import grid, write_image
from likeness.media.report import Section
from likeness.methods.gmpi.animate import write_sweep
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.config import GMPI_PRESETS, STYLEGAN2_PRESETS
from likeness.methods.gmpi.method import GMPIStage
from likeness.methods.gmpi.page import write_page
from likeness.methods.gmpi.stylegan2 import StyleGAN2Stage

PICTURES = 16
OUTPUT_SECONDS = 15.0
"""Kept back for the pictures and videos."""
PROBE = 2
"""Steps that tell how long a step takes here."""


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Train both stages for as many steps as the minutes allow, and show one sample from three sides."""
    begun = time.monotonic()
    data = folder / "runtime_dataset"
    capture_gmpi(GmpiCapture(out=data, resolution=32, pictures=PICTURES, people=4, seed=seed, depth=False))
    left = max(2.0, 60 * minutes - (time.monotonic() - begun) - OUTPUT_SECONDS)
    shared: dict[str, Any] = dict(experiment_dir=folder, data=data, visuals_every=0, save_every=10_000, seed=seed)
    flat = replace(STYLEGAN2_PRESETS["stylegan2-tiny"], **shared)
    parent, flat_steps = train_for(StyleGAN2Stage, flat, "stylegan2", left / 2)
    deep = replace(GMPI_PRESETS["tiny"], **shared, shading_start=5, shading_ramp=10, pretrained=parent.folder)
    run, deep_steps = train_for(GMPIStage, deep, "gmpi", left / 2)
    avatar = Avatar.from_run(run.folder)
    planes = avatar.planes(32)
    mpi = avatar.mpi(avatar.z(seed), planes, psi=0.7)
    yaw = torch.tensor([-0.4, 0.0, 0.4])
    views = avatar.view(mpi, planes, yaw, torch.zeros(3), 128)
    write_image(folder / "views.png", grid(views.image, 3), synthetic=True)
    write_sweep(folder, avatar, mpi, planes, "horizontal")
    write_page(folder / "parallax.html", mpi, planes, avatar.scene, align_corners=avatar.config.align_corners)
    return Section(
        "GMPI: any StyleGAN2 becomes 3D-aware",
        f"A small StyleGAN2 was trained for {flat_steps} steps on {PICTURES} synthetic portraits and then made "
        f"3D-aware for {deep_steps} steps. That is far too little for a face to look like one; it shows the road. "
        "gmpi/parallax.html shows the same sample with live parallax in a browser.",
        figures=[
            (folder / "views.png", "one sample from the left, the front and the right (synthetic)"),
            (folder / "video_rgb_horizontal.mp4", "the camera's sweep (synthetic)"),
            (folder / "video_depth_horizontal.mp4", "its depth, near black, far white (synthetic)"),
        ],
        rows=[("steps of the 2-D GAN", flat_steps), ("steps of GMPI", deep_steps), ("planes shown", len(planes))],
    )


def train_for(kind: type[Stage], config: EngineConfig, stage: str, seconds: float) -> tuple[Run, int]:
    """Train for about `seconds`: a first start measures a step's time, a second goes on for as many as fit."""
    begun = time.monotonic()
    run = train(kind, replace(config, max_updates=PROBE), method="gmpi", stage=stage, argv=[])
    spent = time.monotonic() - begun
    steps = PROBE + max(0, int((seconds - spent) / (spent / PROBE)))
    if steps > PROBE:
        run = train(kind, replace(config, max_updates=steps), method="gmpi", stage=stage, argv=[])
    return run, steps
