"""The demo's training: experiments 1 and 3 on synthetic faces, within a given time, with curves and figures."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from likeness.engine import Run, train
from likeness.formats.depthnet3dfaw import LandmarkArchive, save_archive
from likeness.media.figures import plot_curves
from likeness.media.image import write_image
from likeness.methods.depthnet.affine import apply_affine, fit_affine
from likeness.methods.depthnet.config import PRESETS, DepthConfig
from likeness.methods.depthnet.data import synthetic_split
from likeness.methods.depthnet.evaluate import SourceStatistics, source_statistics
from likeness.methods.depthnet.method import DepthStage
from likeness.methods.depthnet.published import load_network
from likeness.methods.depthnet.results import pair_strip, read_results
from likeness.work import one_thread

FACES, VALID_FACES, HELD_OUT = 4000, 320, 1000
CURVE_POINTS = 6
EXPERIMENTS = {
    "DepthNet": ("exp1_lamb1_sd5_nogan_sigma0_fixm", 0.25),
    "DepthNet + GAN": ("exp1_lamb1_sd5_wgan_dnorm0.1_sigma0_fixm", 0.75),
}
"""Title -> preset and share of the time."""


@dataclass(frozen=True)
class Trained:
    """What the demo's page shows of the trainings."""

    runs: dict[str, Run]
    """Title -> run."""
    rows: list[tuple[str, object]]
    """Measured figures."""
    figures: list[tuple[Path, str]]
    """Pictures and their captions."""


def train_experiments(folder: Path, seconds: float, seed: int) -> Trained:
    """Train both experiments one after the other, `seconds` in all, and measure them on held-out synthetic faces."""
    started = time.monotonic()
    for split, count in (("train", FACES), ("valid", VALID_FACES)):
        save_archive(folder / "data" / f"{split}.npz", synthetic_split(split, count, seed))
    held_out = synthetic_split("test", HELD_OUT, seed)
    left = 0.9 * (seconds - (time.monotonic() - started))
    runs, rows, losses, correlations = {}, [], {}, {}
    for title, (preset, share) in EXPERIMENTS.items():
        config = dataclasses.replace(
            PRESETS[preset], data=folder / "data", experiment_dir=folder, seed=seed, visuals_every=0, accelerator="cpu"
        )
        runs[title] = run = _train_for(share * left, config)
        epochs = [float(row["epoch"]) for row in read_results(run.folder / "results.txt")]
        losses[title] = (epochs, [float(row["valid_l2"]) for row in read_results(run.folder / "results.txt")])
        tags = run.checkpoints.whole()
        measured = [source_statistics(load_network(run.folder, str(tag)), held_out) for tag in tags]
        correlations[title] = ([float(tag.epoch) for tag in tags], [entry.depth_corr for entry in measured])
        rows += _rows(title, len(epochs), measured[-1])
    rows += [
        ("keypoint error with true depth", measured[-1].true_error),
        ("keypoint error of the best affine of x and y alone", measured[-1].flat_error),
    ]
    plot_curves(folder / "keypoint_loss.png", losses, "epoch", "keypoint loss on validation faces", log=True)
    plot_curves(folder / "depth_corr.png", correlations, "epoch", "DepthCorr on held-out faces (of 66)")
    figures = [
        (folder / "keypoint_loss.png", "Keypoint loss, in squared units of the picture."),
        (folder / "depth_corr.png", "DepthCorr: how well depths agree with the truth, landmark by landmark."),
    ]
    for title, run in runs.items():
        path = folder / f"{run.folder.name}.png"
        write_image(path, _strip(run, held_out), synthetic=True)
        figures.append((path, f"{title}: a held-out pair; predicted and true depth, predicted and true target."))
    return Trained(runs, rows, figures)


def _train_for(seconds: float, config: DepthConfig) -> Run:
    """Train one epoch to learn its time, then as many as fit."""
    started = time.monotonic()
    run = _train(dataclasses.replace(config, epochs=1, save_every=1))
    left = seconds - (time.monotonic() - started)
    epoch = float(read_results(run.folder / "results.txt")[0]["time"])
    more = int(0.85 * max(left, 0) / epoch)
    if more:
        every = max(1, (1 + more) // CURVE_POINTS)
        run = _train(dataclasses.replace(config, epochs=1 + more, save_every=every))
    return run


def _train(config: DepthConfig) -> Run:
    # Layers this small gain nothing from a second thread, and lose all where the machine has other work too.
    with one_thread():
        return train(DepthStage, config, method="depthnet", stage="depth", argv=["likeness", "demo"])


def _rows(title: str, epochs: int, measured: SourceStatistics) -> list[tuple[str, object]]:
    return [
        (f"{title}: epochs of {FACES} faces", epochs),
        (f"{title}: DepthCorr (of 66) on {HELD_OUT} held-out faces", measured.depth_corr),
        (f"{title}: keypoint error", measured.error),
    ]


def _strip(run: Run, faces: LandmarkArchive) -> torch.Tensor:
    network = load_network(run.folder)
    source, target = (torch.from_numpy(faces.xy[i : i + 1]) for i in (0, 1))
    with torch.inference_mode():
        depth = network(source, target).depth
        predicted = apply_affine(fit_affine(source, depth, target), source, depth)
    shown = (source[0], depth[0], faces.depth[0], target[0], faces.depth[1], predicted[0])
    return pair_strip(*(np.asarray(part) for part in shown))
