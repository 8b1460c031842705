"""The avatars' section of the demo page: trained on synthetic people for a minute, driven by another of them."""

import dataclasses
import time
from pathlib import Path

import torch

from likeness.capture.bilayer import BilayerCapture, capture_bilayer
from likeness.engine import train
from likeness.formats import heads
from likeness.media.report import Section
from likeness.media.video import write_video
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.config import PRESETS
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.pairs import Videos
from likeness.methods.bilayer.personalize import expected_minutes

SIZE = 64
TRAINING_SHARE = 0.6


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Capture three synthetic people, train, measure on held-out clips, drive one by the landmarks of another."""
    started = time.monotonic()
    data = folder / "data"
    capture_bilayer(
        BilayerCapture(out=data, people=3, videos=1, sequences=2, frames=8, size=SIZE, seed=seed, mp4=False)
    )
    left = minutes - (time.monotonic() - started) / 60
    settings = dataclasses.replace(
        PRESETS["tiny"],
        experiment_dir=folder,
        experiment_name="bilayer",
        data_root=data,
        image_size=SIZE,
        batch_size=3,
        num_target_frames=2,
        mask_source_and_target=True,
        epochs=1,
        seed=seed,
        validate_every=0,
        visuals_every=0,
        resume="none" if not (folder / "runs" / "bilayer").exists() else "auto",
    )
    epochs = max(int(TRAINING_SHARE * left / expected_minutes(settings)), 2)
    settings = dataclasses.replace(settings, epochs=epochs, save_every=epochs, validate_every=epochs)
    run = train(BaseStage, settings, method="bilayer", stage="base", argv=["likeness", "demo"])
    measured = evaluate(
        EvaluateConfig(run=run.folder, data_root=data, pairs_per_video=3, identity=False, lpips=False, pose=False)
    )
    video = drive_other(run.folder, data, folder / "driven.mp4")
    return Section(
        "Head avatars (bilayer)",
        f"Three synthetic people talk; an avatar of {SIZE} pixels was trained on them for {epochs} steps from scratch "
        "and is measured on clips that it has not seen, beside the source frame left as it is and the mean frame.\n\n"
        "The video: source, driver, and the source person moving as the driver, from 68 landmarks a frame alone.",
        figures=[
            (video, "source | driver | avatar"),
            (run.folder / "evaluation" / "evaluation.png", "held-out frames: source, truth, avatar, mean"),
        ],
        rows=[(f"{key} ({kind})", values[key]) for key in ("L1", "SSIM", "PSNR") for kind, values in measured.items()],
    )


def drive_other(run: Path, data: Path, out: Path) -> Path:
    """Drive the first person by the held-out clip of the second; write source, driver and avatar side by side."""
    avatar = Avatar.from_run(run)
    size = avatar.options.image_size
    sources, drivers = Videos.list(data, "train"), Videos.list(data, "test")
    source = heads.read_frame(data, "train", sources.frames[0][0], size)
    assert source.mask is not None
    identity = avatar.identify([source.image], [source.keypoints], [source.mask])
    rest: torch.Tensor | None = None
    names = sorted(drivers.frames[-1], key=lambda name: int(name.rsplit("/", 1)[1]))
    frames = []
    for name in names:
        driver = heads.read_frame(data, "test", name, size)
        pose = torch.from_numpy(stickman.normalise(driver.keypoints, size))
        rest = pose if rest is None else rest
        own = torch.from_numpy(stickman.normalise(source.keypoints, size))
        picture = identity.drive((own + pose - rest).numpy()).over()
        row = torch.cat((torch.from_numpy(source.image), torch.from_numpy(driver.image), picture), 2)
        frames.append(torch.nn.functional.interpolate(row[None], scale_factor=2, mode="nearest")[0])
    write_video(out, frames + frames[::-1], 25, synthetic=True)
    return out
