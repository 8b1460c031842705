"""What a portrait becomes, against what the synthetic stage knows of it: its depth, its pose, its other views."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.capture.gmpi import Portrait, photograph, reconstruction_pose
from likeness.capture.options import SETTINGS_FILE
from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.portraits import PoseLabel
from likeness.media.image import grid, write_image
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.data import pose_of
from likeness.methods.gmpi.invert import InvertConfig, fit
from likeness.metrics.depth import depth_error

STEPS = (200, 100)
"""Of the style and of the generator, for the fit that is measured."""
POSE_STEPS = 30
"""Of the style at every pose that is tried."""
POSES = (-1.5, -0.75, 0.0, 0.75, 1.5)
"""Tried yaws and pitches, in standard deviations of the data set."""
TURN = 0.3
"""Radians between the fitted view and the other one."""


@dataclass(frozen=True)
class TruthReport:
    """One portrait against the truth."""

    portrait: str
    psnr: float
    """dB of the fitted view."""
    depth: float
    """Mean squared difference of the standardised depths (see `depth_error`); a flat board gets 1."""
    yaw: float
    """Radians by which the pose with the best fit misses the true yaw."""
    pitch: float
    """The same of the pitch."""
    novel_psnr: float
    """dB of the view from TURN beside, which the fit has not seen."""
    board_psnr: float
    """dB of the fitted view itself, unchanged, in place of that view: what a flat picture would get."""


def measure_truth(
    avatar: Avatar,
    out: Path,
    count: int,
    steps: tuple[int, int] = STEPS,
    pose_steps: int = POSE_STEPS,
    data: Path | None = None,
) -> list[TruthReport]:
    """Fit the first `count` portraits of `data`, or of the run's own data set; write truth.json and <number>.png.

    Each picture shows the photograph, the fit, the true other view and the fit's.

    Raises:
        UserError: the data set was not made by `likeness capture gmpi` with depth and FFHQ's layout.
    """
    data = avatar.config.data if data is None else data
    settings_file = data / SETTINGS_FILE
    if not settings_file.is_file():
        raise UserError("holds no truth: expected a folder of `likeness capture gmpi`", path=data)
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    if settings.get("layout") != "ffhq" or not settings.get("depth"):
        raise UserError("has no depth in FFHQ's layout: capture it again with both", path=data)
    portraits = replace(avatar.config, data=data).open()
    keys = ("seed", "people", "resolution", "layout", "depth")
    reports = []
    for index in range(min(count, len(portraits))):
        name = portraits.names[index]
        number = int(PurePosixPath(name).stem.removeprefix("img"))
        shot = Portrait(out=data, number=number, **{key: settings[key] for key in keys})
        target = torch.tensor(portraits.image(index, avatar.config.resolution)).movedim(-1, 0)[None].float() / 255
        depth = torch.from_numpy(np.load(data / "depth" / f"{number:08d}.npy").astype(np.float32))
        report, pictures = compare(avatar, shot, target, depth, portraits.pose(index), steps, pose_steps)
        write_image(out / f"{number:08d}.png", grid(pictures, 4), synthetic=True)
        reports.append(report)
    rows = [asdict(report) for report in reports]
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "portrait"}
    write_text(out / "truth.json", json.dumps({"mean": mean, "portraits": rows}, indent=1) + "\n")
    print(f"{out}: {len(rows)} portraits, " + ", ".join(f"{key} {value:.3f}" for key, value in mean.items()))
    return reports


def compare(
    avatar: Avatar,
    shot: Portrait,
    target: Tensor,
    depth: Tensor,
    label: PoseLabel,
    steps: tuple[int, int] = STEPS,
    pose_steps: int = POSE_STEPS,
) -> tuple[TruthReport, Tensor]:
    """The report of `target` (1, 3, R, R) with true `depth` (R, R), and (4, 3, R, R) pictures to look at."""
    yaw, pitch = pose_of(label, avatar.scene)
    config = InvertConfig(photo=shot.picture_file, run=Path(), out=Path(), style_steps=steps[0], tuning_steps=steps[1])
    found = fit(avatar, target, replace(config, yaw=yaw, pitch=pitch))
    fitted = Avatar(avatar.config, found.generator)
    shown = fitted.view(found.mpi, found.planes, torch.tensor([yaw]), torch.tensor([pitch]))
    known = torch.isfinite(depth) & (depth > 0)
    error = depth_error(shown.depth[0, 0].cpu(), torch.where(known, depth, 0.0), known.float())
    tried = search_pose(avatar, target, replace(config, style_steps=pose_steps, tuning_steps=0))
    # Away from the side that the head is turned to, so that the camera stays among the poses of training.
    aside = -TURN if yaw > 0 else TURN
    other, rotation, offset = photograph(shot, pose=(yaw + aside, pitch))
    angle, trans = reconstruction_pose(rotation, offset)
    other_yaw, other_pitch = pose_of(PoseLabel(angle=angle, trans=trans), avatar.scene)
    novel = fitted.view(found.mpi, found.planes, torch.tensor([other_yaw]), torch.tensor([other_pitch])).image.cpu()
    truth = other.image[None]
    report = TruthReport(
        shot.picture_file.stem,
        found.psnr,
        float(error),
        abs(tried[0] - yaw),
        abs(tried[1] - pitch),
        psnr(novel, truth),
        psnr(shown.image.cpu(), truth),
    )
    return report, torch.cat([target, shown.image.cpu(), truth, novel]).clamp(0, 1)


def search_pose(avatar: Avatar, target: Tensor, config: InvertConfig) -> tuple[float, float]:
    """Yaw and pitch, of a coarse grid, at which a short fit of the style comes nearest to the picture."""
    scene = avatar.scene
    poses = [(a * scene.yaw_std, b * scene.pitch_std) for a in POSES for b in POSES]
    return max(poses, key=lambda pose: fit(avatar, target, replace(config, yaw=pose[0], pitch=pose[1])).psnr_style)


def psnr(image: Tensor, truth: Tensor) -> float:
    """dB between pictures in [0, 1]."""
    return float(-10 * F.mse_loss(image.clamp(0, 1), truth).clamp(min=1e-10).log10())
