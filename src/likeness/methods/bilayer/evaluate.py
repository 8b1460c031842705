"""`likeness evaluate bilayer`: how close predictions are to held-out frames, beside two baselines."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats import heads
from likeness.media.image import grid, write_image
from likeness.methods.bilayer import stickman
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.measures import Measure, MeasureName, make_measures
from likeness.methods.bilayer.pairs import PairRule, Videos
from likeness.methods.bilayer.published import run_folder


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a run on frames that it was not trained on."""

    run: Path
    """Trained or imported run, or `shipped`."""
    data_root: Path
    """Head data set."""
    phase: str = "test"
    """Its phase."""
    source_phase: str | None = None
    """Take the source frame from this phase of the same video, another clip with another camera or pose; None takes the
    first frame of the measured clips themselves, as published."""
    which: str = "last"
    """Checkpoint of the run."""
    out: Path | None = None
    """Folder of `evaluation.json`, `evaluation.csv` and pictures; default: `evaluation/` in the run, or here."""
    pairs_per_video: int = 4
    """Target frames measured of each video, spread over its frames."""
    identity: bool = True
    """Measure CSIM: ArcFace where its weights are given, dlib's network under its own name otherwise."""
    arcface_weights: Path | None = None
    """`insight_face.pth`, for published CSIM figures."""
    lpips: bool = True
    """Measure LPIPS where the backbone is given, ST-LPIPS under its own name otherwise."""
    lpips_backbone: Path | None = None
    """`vgg16-397923af.pth`, for published LPIPS figures."""
    pose: bool = True
    """Detect landmarks again in both pictures (`pose_matching`, also called G_PME)."""
    device: str = "cpu"
    """Where to compute."""


def evaluate(config: EvaluateConfig) -> dict[str, dict[str, float]]:
    """Write and return means over all pairs, for the avatar and two baselines: the source frame, and the mean frame.

    All are compared with a black background under the ground truth's mask, in [0, 1]; `SSIM` has data range 1,
    `SSIM_signed` is the published variant on [-1, 1] pictures with constants for range 1.

    Raises:
        UserError: no such run, or no frames of that phase.
    """
    if config.pairs_per_video < 1:
        raise UserError(f"--pairs-per-video must be positive, found {config.pairs_per_video}")
    avatar = Avatar.from_run(config.run, config.which, config.device)
    size = avatar.options.image_size
    videos = Videos.list(config.data_root, config.phase)
    source_phase = config.source_phase or config.phase
    sources = {_video(frames[0]): frames[0] for frames in Videos.list(config.data_root, source_phase).frames}
    measures = _measures(config)
    mean_frames = _mean_frames(config, size)
    rows: list[dict[str, object]] = []
    shown: list[Tensor] = []
    for number, frames in enumerate(videos.frames):
        rule = PairRule("paper", 1, config.pairs_per_video, testing=True)
        targets = rule.draw(videos, number, 1).targets
        video = _video(frames[0])
        if video not in sources:
            raise UserError(f"video {video} has no frame in phase {source_phase!r}", path=config.data_root)
        source = heads.read_frame(videos.root, source_phase, sources[video], size)
        assert source.mask is not None
        identity = avatar.identify([source.image], [source.keypoints], [source.mask])
        for name in dict.fromkeys(targets):
            if (source_phase, sources[video]) == (videos.phase, name):
                continue
            target = heads.read_frame(videos.root, videos.phase, name, size)
            truth = _black(target)
            guesses = {
                "avatar": identity.drive(stickman.normalise(target.keypoints, size)).over(0.0).cpu(),
                "source": _black(source),
                "mean": mean_frames.get(video, truth.new_zeros(truth.shape)),
            }
            for kind, guess in guesses.items():
                values = {key: measure(guess, truth, target.keypoints) for key, measure in measures.items()}
                rows.append({"frame": name, "source": sources[video], "method": kind, **values})
            if len(shown) < 32:
                shown += [_black(source), truth, guesses["avatar"], guesses["mean"]]
    if not rows:
        raise UserError(f"phase {config.phase!r} has no video with two frames", path=config.data_root)
    own = run_folder(config.run) == config.run
    out = config.out or (config.run if own else Path()) / "evaluation"
    means = {
        kind: {key: _nanmean([r[key] for r in rows if r["method"] == kind]) for key in measures}
        for kind in ("avatar", "source", "mean")
    }
    failed = dict.fromkeys(means, 0)
    for row in rows:
        failed[str(row["method"])] += config.pose and bool(np.isnan(float(str(row["pose_matching"]))))
    document = {
        "pairs": len(rows) // 3,
        "phase": config.phase,
        "source_phase": source_phase,
        "faces_not_found": failed,
        **means,
    }
    write_text(out / "evaluation.json", json.dumps(document, indent=2) + "\n")
    write_text(out / "evaluation.csv", _csv(rows))
    write_image(out / "evaluation.png", grid(shown, columns=4), synthetic=True)
    for kind, values in means.items():
        print(f"{kind:7}" + "  ".join(f"{key} {value:.4f}" for key, value in values.items()))
    without_face = [f"{count} of {len(rows) // 3} ({kind})" for kind, count in failed.items() if count]
    if without_face:
        print(f"no face was found to match poses by in {', '.join(without_face)}")
    return means


def _measures(config: EvaluateConfig) -> dict[str, Measure]:
    names: list[MeasureName] = ["L1", "PSNR", "PSNR_float", "SSIM", "SSIM_signed"]
    names += ["lpips"] if config.lpips else []
    names += ["csim"] if config.identity else []
    names += ["pose_matching"] if config.pose else []
    return make_measures(names, config.arcface_weights, config.lpips_backbone)


def _mean_frames(config: EvaluateConfig, size: int) -> dict[str, Tensor]:
    """Video -> mean of its frames; of the training phase where the video is there, else of the evaluated one."""
    means = {}
    for phase in (config.phase, "train"):
        if phase not in heads.list_phases(config.data_root):
            continue
        videos = Videos.list(config.data_root, phase)
        for frames in videos.frames:
            chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(20, len(frames))).astype(int)]
            pictures = [_black(heads.read_frame(videos.root, phase, name, size)) for name in chosen]
            means[_video(frames[0])] = torch.stack(pictures).mean(0)
    return means


def _video(frame: str) -> str:
    """PERSON/VIDEO of a frame's name."""
    return frame.rsplit("/", 2)[0]


def _black(frame: heads.HeadFrame) -> Tensor:
    assert frame.mask is not None
    return torch.from_numpy(frame.image * frame.mask)


def _nanmean(values: list) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _csv(rows: list[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
