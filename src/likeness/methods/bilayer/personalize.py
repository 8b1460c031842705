"""`likeness personalize VIDEO.mp4 --out RUN`: from one video of a person to that person's avatar, in one command."""

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.progress import track

from likeness.engine import Context, Run, Updates, train
from likeness.engine.averages import Averages
from likeness.errors import UserError
from likeness.formats import heads
from likeness.media.video import count_frames, read_frames
from likeness.methods.bilayer.animate import AnimateConfig, animate
from likeness.methods.bilayer.config import PRESETS, BilayerConfig
from likeness.methods.bilayer.data import make_batches
from likeness.methods.bilayer.evaluate import EvaluateConfig, evaluate
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.prepare import Preparer

HELD_OUT = 5
"""Every fifth prepared frame is kept from training."""


@dataclass(frozen=True)
class PersonalizeConfig:
    """Extract a person's head from a video, train on it, evaluate on held-out frames, write a video."""

    video: Annotated[Path, tyro.conf.Positional]
    """Video of one person."""
    out: Path
    """Folder of the new run; its data go to `data/` in it."""
    consent: bool = False
    """The person in the video has agreed to an avatar being made; asked on a terminal otherwise."""
    preset: str = "tiny"
    """Preset of the base stage."""
    init: Path | None = None
    """Run to start from: far fewer steps are then needed."""
    frames: int = 80
    """Prepare about this many frames, evenly spread."""
    steps: int = 600
    """Training steps."""
    driving: Path | None = None
    """Video that drives the finished avatar; default: the video itself."""


def personalize(config: PersonalizeConfig) -> Run:
    """Make a person's avatar; takes up an interrupted training.

    Raises:
        UserError: no consent, no such video, too few frames with a face, or an unknown preset.
    """
    require_consent(config)
    if config.preset not in PRESETS:
        raise UserError(f"there is no preset {config.preset!r}: choose {', '.join(PRESETS)}")
    if config.out.parent.name != "runs":
        raise UserError("a run lies in a folder called runs: give --out SOMEWHERE/runs/NAME", path=config.out)
    experiment_dir = config.out.parent.parent
    data = config.out / "data"
    source = extract(config.video, data, PRESETS[config.preset].image_size, config.frames)
    settings = dataclasses.replace(
        PRESETS[config.preset],
        experiment_dir=experiment_dir,
        experiment_name=config.out.name,
        data_root=data,
        pairs="random",
        # The video is one item; every step shows as many pairs of it as a batch holds.
        epochs=config.steps,
        batch_size=1,
        num_target_frames=PRESETS[config.preset].batch_size,
        save_every=max(config.steps // 4, 1),
        validate_every=max(config.steps // 4, 1),
        visuals_every=max(config.steps // 4, 1),
        devices=1,
        init_experiment_dir=config.init,
    )
    print(f"training {config.steps} steps will take about {expected_minutes(settings):.1f} minutes on this machine")
    run = train(BaseStage, settings, method="bilayer", stage="base", argv=sys.argv)
    evaluate(EvaluateConfig(run=run.folder, data_root=data, pairs_per_video=8))
    video = run.folder / "avatar.mp4"
    driving = str(config.driving or config.video)
    animate(AnimateConfig(run=run.folder, source=(source,), driving=driving, out=video, side_by_side=True))
    return run


def require_consent(config: PersonalizeConfig) -> None:
    """Ask whether the person has agreed.

    Raises:
        UserError: not, or nobody can be asked.
    """
    if config.consent:
        return
    question = "Has the person in this video agreed that an avatar of them is made? [yes/no] "
    if sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes"):
        return
    raise UserError("an avatar is only made of people who agreed to it: if they did, say so with --consent")


def extract(video: Path, data: Path, size: int, count: int) -> Path:
    """Prepare about `count` frames of `video` as a per-video data set; returns its first stored picture.

    Frames that are there already are not made again.

    Raises:
        UserError: fewer than ten frames show a face.
    """
    step = max(count_frames(video) // count, 1)
    name = f"person/{video.stem}/00000"
    found = [frame for phase in ("train", "test") for frame in heads.list_frames(data, phase, f"person/{video.stem}")]
    if len(found) < 10:
        preparer = Preparer(size)
        kept = 0
        for frame in track(read_frames(video, step), "finding heads"):
            faces = preparer.faces.detect(frame.image)
            if not faces:
                continue
            head = preparer.from_frame(frame.image, max(faces, key=lambda face: face.eye_distance).landmarks)
            phase = "test" if kept % HELD_OUT == HELD_OUT - 1 else "train"
            heads.write_frame(data, phase, f"{name}/{frame.index}", head.image, head.keypoints, head.mask)
            kept += 1
        if kept < 10:
            raise UserError(f"only {kept} of its frames show a face, at least 10 are needed", path=video)
    return video


def expected_minutes(config: BilayerConfig) -> float:
    """Time of the training, by taking two steps of it."""
    stage = BaseStage(config)
    batches = make_batches(config, "train")
    assert batches is not None
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    ctx = Context(updates, Averages(stage.networks, {}), seed=0, splits=1, device=torch.device("cpu"), rank=0, world=1)
    seconds = 0.0
    for position in (0, 0):
        start = time.monotonic()
        batch = batches[position]
        ctx.begin(1, position, batch)
        stage.step(batch, ctx)
        ctx.finish()
        seconds = time.monotonic() - start
    return seconds * config.epochs / 60
