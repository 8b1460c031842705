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
from likeness.methods.bilayer.prepare import Head, Preparer
from likeness.methods.bilayer.published import read_run_config, run_folder

HELD_OUT = 0.2
"""Share of the prepared frames, the video's end, that is kept from training."""
STORED_SIZE = 256
"""Side of the prepared crops, as the extraction from videos stores them."""
STEPS_PER_EPOCH = 25
MIN_FRAMES = 10


@dataclass(frozen=True)
class PersonalizeConfig:
    """Extract a person's head from a video, train on it, evaluate on held-out frames, write a video."""

    video: Annotated[Path, tyro.conf.Positional]
    """Video of one person."""
    out: Path
    """Folder of the new run; its data go to `data/` in it."""
    consent: bool = False
    """The person in the video has agreed to an avatar being made; asked on a terminal otherwise."""
    init: str = "shipped"
    """Run to start from, whose sizes and losses are kept: a folder, `shipped` for the 64-pixel avatar that comes with
    the package, or `none` to train `--preset` from scratch."""
    preset: str = "tiny"
    """Preset of the base stage where there is no run to start from."""
    frames: int = 80
    """Prepare about this many frames, evenly spread."""
    steps: int = 500
    """Training steps."""
    driving: Path | None = None
    """Video that drives the finished avatar; default: the video itself."""


def personalize(config: PersonalizeConfig) -> Run:
    """Make a person's avatar; takes up an interrupted training.

    Raises:
        UserError: no consent, no such video, too few frames with a face, or an unknown preset.
    """
    require_consent(config)
    if config.steps < 1 or config.frames < 10:
        raise UserError(f"--steps must be positive and --frames at least 10, found {config.steps} and {config.frames}")
    settings = training_settings(config)
    source = extract(config.video, settings.data_root, config.frames)
    minutes = expected_minutes(settings)
    print(f"training {config.steps} steps will take about {minutes:.1f} minutes on this machine", flush=True)
    run = train(BaseStage, settings, method="bilayer", stage="base", argv=sys.argv)
    evaluate(EvaluateConfig(run=run.folder, data_root=settings.data_root, source_phase="train", pairs_per_video=8))
    video = run.folder / "avatar.mp4"
    driving = str(config.driving or config.video)
    animate(AnimateConfig(run=run.folder, source=(source,), driving=driving, out=video, side_by_side=True))
    print(f"finished: {run.folder}")
    return run


def training_settings(config: PersonalizeConfig) -> BilayerConfig:
    """The training of one person's base networks.

    Raises:
        UserError: an unknown preset, or no run to start from.
    """
    if config.init == "none":
        if config.preset not in PRESETS:
            raise UserError(f"there is no preset {config.preset!r}: choose {', '.join(PRESETS)}")
        base, init = PRESETS[config.preset], None
    else:
        init = run_folder(config.init)
        start = read_run_config(init)
        base = BilayerConfig(**{field.name: getattr(start, field.name) for field in dataclasses.fields(BilayerConfig)})
    # The video is the only item of the data set; an epoch shows enough pairs of it for a few steps.
    per_epoch = min(STEPS_PER_EPOCH, config.steps)
    epochs = -(-config.steps // per_epoch)
    named = config.out.parent.name == "runs"
    return dataclasses.replace(
        base,
        experiment_dir=config.out.parent.parent if named else Path(),
        # An absolute name is the run's own folder.
        experiment_name=config.out.name if named else str(config.out.absolute()),
        data_root=config.out / "data",
        general_data_root=None,
        train_load_from=None,
        test_load_from=None,
        resume="auto",
        pairs="random",
        samples_per_video=per_epoch * base.batch_size,
        epochs=epochs,
        # The same share of the training without the discriminator, rounded up.
        adv_from_epoch=1 - (1 - base.adv_from_epoch) * epochs // base.epochs,
        save_every=max(epochs // 4, 1),
        validate_every=max(epochs // 4, 1),
        visuals_every=max(epochs // 4, 1),
        devices=1,
        workers=0,
        init_experiment_dir=init,
        init_networks=(),
        init_which_epoch="last",
        frozen_networks=(),
    )


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


def extract(video: Path, data: Path, count: int) -> Path:
    """Prepare about `count` frames of `video` as a per-video data set; returns its first stored picture.

    Frames that are there already are not made again.

    Raises:
        UserError: fewer than ten frames show a face.
    """
    person = f"person/{video.stem}"
    stored = [name for phase in ("train", "test") for name in heads.list_frames(data, phase, person)]
    if len(stored) < MIN_FRAMES:
        step = max(count_frames(video) // count, 1)
        preparer = Preparer(STORED_SIZE)
        found: list[tuple[int, Head]] = []
        for frame in track(read_frames(video, step), "finding heads"):
            faces = preparer.faces.detect(frame.image)
            if faces:
                landmarks = max(faces, key=lambda face: face.eye_distance).landmarks
                found.append((frame.index, preparer.from_frame(frame.image, landmarks)))
        if len(found) < MIN_FRAMES:
            raise UserError(f"{len(found)} of its frames show a face, at least {MIN_FRAMES} are needed", path=video)
        held_out = found[len(found) - int(HELD_OUT * len(found)) :]
        for index, head in found:
            phase = "test" if index >= held_out[0][0] else "train"
            heads.write_frame(data, phase, f"{person}/00000/{index}", head.image, head.keypoints, head.mask)
    first = min(heads.list_frames(data, "train", person), key=lambda name: int(name.rsplit("/", 1)[1]))
    return heads.frame_path(data, "imgs", "train", first)


def expected_minutes(config: BilayerConfig) -> float:
    """Time of the training, by taking two steps of its first epoch and two of its last."""
    stage = BaseStage(config)
    batches = make_batches(config, "train")
    assert batches is not None
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    ctx = Context(updates, Averages(stage.networks, {}), seed=0, splits=1, device=torch.device("cpu"), rank=0, world=1)
    plain = config.adv_from_epoch - 1
    seconds = 0.0
    for epoch, count in ((1, plain), (config.epochs, config.epochs - plain)):
        if count <= 0:
            continue
        for _ in range(2):
            start = time.monotonic()
            batch = batches[0]
            ctx.begin(epoch, 0, batch)
            stage.step(batch, ctx)
            ctx.finish()
            spent = time.monotonic() - start
        seconds += spent * count * len(batches)
    return seconds / 60
