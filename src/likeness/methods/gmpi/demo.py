"""GMPI's section of the demo page: the shipped small model, measured where the truth is known, and the road to it."""

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
from likeness.methods.gmpi.packed import open_avatar
from likeness.methods.gmpi.page import write_page
from likeness.methods.gmpi.proof import HELD_OUT_SEED
from likeness.methods.gmpi.stylegan2 import StyleGAN2Stage
from likeness.methods.gmpi.truth import measure_truth

PICTURES = 16
TRAINING_SHARE = 0.4
MEASURED = 1
FIT_STEPS, POSE_STEPS = (100, 40), 2
PROBE = 2
"""Steps that tell how long a step takes here."""
SAMPLES = 4


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Show and measure the shipped model, then walk the road to it for as many steps as the minutes allow."""
    begun = time.monotonic()
    avatar = open_avatar(None)
    figures = show(folder, avatar, seed)
    held_out = folder / "held_out"
    capture = GmpiCapture(out=held_out, resolution=32, pictures=MEASURED, people=4, seed=seed + HELD_OUT_SEED)
    capture_gmpi(capture)
    (report,) = measure_truth(avatar, folder / "truth", MEASURED, FIT_STEPS, POSE_STEPS, data=held_out)
    figures.append(
        (
            folder / "truth" / "00000000.png",
            "a portrait that training has not seen, its fit, the true view from 0.3 radians beside, and the fit's",
        )
    )
    left = min(60 * minutes * TRAINING_SHARE, 0.8 * (60 * minutes - (time.monotonic() - begun)))
    flat_steps, deep_steps = walk(folder, max(2.0, left), seed)
    return Section(
        "GMPI: any StyleGAN2 becomes 3D-aware",
        "A small StyleGAN2, trained on synthetic portraits and then made 3D-aware (`likeness prove gmpi`), ships with "
        "the package: its samples are multiplane images, which any camera in front can look at. In the frame, move the "
        "pointer over the picture. The same two trainings ran here for a few steps.",
        figures=figures,
        rows=[
            ("depth of an unseen portrait (0 exact, 1 a flat board, 2 unrelated)", report.depth),
            ("its fit, dB", report.psnr),
            ("its unseen view, dB", report.novel_psnr),
            ("the fitted view in its place, dB", report.board_psnr),
            ("steps of the 2-D GAN here", flat_steps),
            ("steps of GMPI here", deep_steps),
        ],
    )


def show(folder: Path, avatar: Avatar, seed: int) -> list[tuple[Path, str]]:
    """Samples from three sides, a sweep of the camera with its depth, and the parallax page."""
    planes = avatar.planes(32)
    yaw = torch.tensor([-0.45, 0.0, 0.45])
    rows = []
    for number in range(SAMPLES):
        mpi = avatar.mpi(avatar.z(seed + number), planes, psi=0.7)
        rows.append(avatar.view(mpi, planes, yaw, torch.zeros(3), 128).image)
    write_image(folder / "views.png", grid(torch.cat(rows), 3 * 2), synthetic=True)
    mpi = avatar.mpi(avatar.z(seed), planes, psi=0.7)
    write_sweep(folder, avatar, mpi, planes, "horizontal")
    write_page(folder / "parallax.html", mpi, planes, avatar.scene, 320, align_corners=avatar.config.align_corners)
    return [
        (folder / "views.png", "four samples from the left, the front and the right (synthetic)"),
        (folder / "parallax.html", "live parallax: the planes of the first sample, seen from where the pointer is"),
        (folder / "video_rgb_horizontal.mp4", "the camera's sweep around the first (synthetic)"),
        (folder / "video_depth_horizontal.mp4", "its depth, near black, far white (synthetic)"),
    ]


def walk(folder: Path, seconds: float, seed: int) -> tuple[int, int]:
    """Train both stages for about `seconds` in all; returns their steps."""
    data = folder / "runtime_dataset"
    begun = time.monotonic()
    capture_gmpi(GmpiCapture(out=data, resolution=32, pictures=PICTURES, people=4, seed=seed, depth=False))
    left = max(2.0, seconds - (time.monotonic() - begun))
    shared: dict[str, Any] = dict(experiment_dir=folder, data=data, visuals_every=0, save_every=10_000, seed=seed)
    flat = replace(STYLEGAN2_PRESETS["stylegan2-tiny"], **shared)
    parent, flat_steps = train_for(StyleGAN2Stage, flat, "stylegan2", left / 2)
    deep = replace(GMPI_PRESETS["tiny"], **shared, shading_start=5, pretrained=parent.folder)
    _, deep_steps = train_for(GMPIStage, deep, "gmpi", left / 2)
    return flat_steps, deep_steps


def train_for(kind: type[Stage], config: EngineConfig, stage: str, seconds: float) -> tuple[Run, int]:
    """Train for about `seconds`: a first start measures a step's time, a second goes on for as many as fit."""
    begun = time.monotonic()
    run = train(kind, replace(config, max_updates=PROBE), method="gmpi", stage=stage, argv=[])
    spent = time.monotonic() - begun
    steps = PROBE + max(0, int((seconds - spent) / (spent / PROBE)))
    if steps > PROBE:
        run = train(kind, replace(config, max_updates=steps), method="gmpi", stage=stage, argv=[])
    return run, steps
