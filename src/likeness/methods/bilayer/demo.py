"""The avatars' section of the demo page: a synthetic person's avatar, driven by another one's performance."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.capture.bilayer import BilayerCapture, capture_bilayer
from likeness.engine import Run, train
from likeness.formats import heads
from likeness.media.image import grid, write_image
from likeness.media.report import Section
from likeness.media.video import write_video
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.config import BilayerConfig
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.pairs import Videos
from likeness.methods.bilayer.personalize import PersonalizeConfig, expected_minutes, training_settings

SIZE, ENLARGED = 64, 3
FRAMES, DRIVING_FRAMES, DRIVING_RATE = 12, 24, 12.5
TRAINING_SHARE = 0.55
MOST_STEPS = 400
SHOWN = 6


def demo(folder: Path, minutes: float, seed: int) -> Section:
    """Capture two synthetic people, make the avatar of one, measure it on a held-out clip, drive it by the other."""
    started = time.monotonic()
    own, driver = folder / "data", folder / "driver"
    capture_bilayer(_capture(own, seed, sequences=2, frames=FRAMES, rate=4.0))
    capture_bilayer(_capture(driver, seed + 1, sequences=1, frames=DRIVING_FRAMES, rate=DRIVING_RATE))
    run, steps = _fine_tune(own, folder / "runs" / "bilayer", minutes - (time.monotonic() - started) / 60)
    measured = {}
    for title, avatar in (("one photograph", Path("shipped")), ("fine-tuned", run.folder)):
        measured[title] = evaluate(
            EvaluateConfig(
                run=avatar,
                data_root=own,
                source_phase="train",
                out=folder / f"evaluation {title}",
                pairs_per_video=6,
                identity=False,
                lpips=False,
                pose=False,
            )
        )
    rows: list[tuple[str, object]] = [(f"fine-tuning steps on {FRAMES} frames", steps)]
    for key in ("L1", "SSIM", "PSNR"):
        rows += [(f"{key}: avatar, {title}", means["avatar"][key]) for title, means in measured.items()]
        rows += [
            (f"{key}: {name}", measured["fine-tuned"][kind][key])
            for kind, name in (("source", "the photograph left as it is"), ("mean", "the mean of the training frames"))
        ]
    video, strip = drive_other(run.folder, own, driver, folder)
    return Section(
        "Head avatars (bilayer)",
        f"A photograph of a synthetic person becomes an avatar of {SIZE} pixels that moves by 68 landmarks a frame "
        "alone. The avatar that ships with the package was trained on 150 other synthetic people; here it makes this "
        "person's avatar from one photograph, and again after some steps of fine-tuning on a short clip. Both are "
        "measured on a clip that they have not seen, from another camera, with a black background.\n\n"
        "The video: photograph, driver (another person, whose motion is added to the pose of the photograph), avatar.",
        figures=[
            (video, "photograph | driver | avatar"),
            (strip, "from top to bottom: photograph, driver, avatar"),
            (folder / "evaluation fine-tuned" / "evaluation.png", "held-out frames: photograph, truth, avatar, mean"),
        ],
        rows=rows,
    )


def _capture(out: Path, seed: int, sequences: int, frames: int, rate: float) -> BilayerCapture:
    return BilayerCapture(
        out=out, seed=seed, people=1, videos=1, sequences=sequences, frames=frames, rate=rate, size=SIZE, mp4=False
    )


def _fine_tune(data: Path, out: Path, minutes: float) -> tuple[Run, int]:
    """Fine-tune the shipped avatar for a share of `minutes`; returns the run and how many steps it took."""
    settings = _settings(data, out, MOST_STEPS)
    steps = int(MOST_STEPS * min(1, TRAINING_SHARE * max(minutes, 0) / expected_minutes(settings)))
    steps = max(steps, 4)
    return train(
        BaseStage, _settings(data, out, steps), method="bilayer", stage="base", argv=["likeness", "demo"]
    ), steps


def _settings(data: Path, out: Path, steps: int) -> BilayerConfig:
    settings = training_settings(PersonalizeConfig(video=Path(), out=out, steps=steps))
    return dataclasses.replace(
        settings,
        data_root=data,
        visuals_every=0,
        accelerator="cpu",
        stats_calc_iters=8,
        # A discriminator that starts here learns nothing in so few steps, and doubles their price.
        adv_from_epoch=settings.epochs + 1,
    )


def drive_other(run: Path, own: Path, driver: Path, folder: Path) -> tuple[Path, Path]:
    """Drive the person of `own` by the clip in `driver`: a video and a strip of source, driver and avatar."""
    avatar = Avatar.from_run(run)
    size = avatar.options.image_size
    source = _first(own, size)
    assert source.mask is not None
    identity = avatar.identify([source.image], [source.keypoints], [source.mask])
    videos = Videos.list(driver, "train")
    names = sorted(videos.frames[0], key=lambda name: int(name.rsplit("/", 1)[1]))
    frames = [heads.read_frame(driver, "train", name, size) for name in names]
    poses = np.stack([stickman.normalise(frame.keypoints, size) for frame in frames])
    pose = stickman.normalise(source.keypoints, size)
    # The driver's rest is the frame most like the photograph: from there its motion means the same in both.
    rest = poses[np.square(poses - pose).sum(1).argmin()]
    rows = []
    for frame, moved in zip(frames, poses, strict=True):
        picture = identity.drive(pose + moved - rest).over()
        rows.append([torch.from_numpy(source.image), torch.from_numpy(frame.image), picture])
    video, strip = folder / "driven.mp4", folder / "driven.png"
    shown = [_enlarged(torch.cat(row, 2)) for row in rows]
    write_video(video, shown + shown[::-1], DRIVING_RATE, synthetic=True)
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, SHOWN).astype(int)]
    write_image(strip, _enlarged(grid([row[i] for i in range(3) for row in chosen], SHOWN)), synthetic=True)
    return video, strip


def _first(root: Path, size: int) -> heads.HeadFrame:
    return heads.read_frame(root, "train", Videos.list(root, "train").frames[0][0], size)


def _enlarged(picture: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(picture[None], scale_factor=ENLARGED, mode="bicubic")[0].clamp(0, 1)
