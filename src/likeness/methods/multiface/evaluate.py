"""Evaluation: plain, with colours fitted, and by the original protocol, which also fits the encoder to the test set."""

import copy
import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from likeness.engine import Run
from likeness.errors import UserError
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import MultifaceBatch, loss_weight
from likeness.methods.multiface.measures import against_mean_face, rendered_views
from likeness.methods.multiface.method import append_result, losses_line
from likeness.methods.multiface.model import MultifaceAvatar, predict
from likeness.methods.multiface.objective import Objective
from likeness.methods.multiface.optimiser import Adam
from likeness.methods.multiface.published import import_weights
from likeness.methods.multiface.recording import Capture

Protocol = Literal["plain", "colour", "original"]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure a run on held-out segments and cameras."""

    run: Path
    """The run to evaluate; a published weight file (with --data-dir) is imported to `runs/<its name>` first."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    protocol: Protocol = "plain"
    """`plain` fits nothing and takes the mean of the codes; `colour` fits the colour correction at test time;
    `original` fits colour correction and encoder over 8 passes and samples the codes, as the published figures were
    made."""
    passes: int = 8
    """Passes over the test set of a protocol that fits; losses are those of the last pass, before each own step."""
    data_dir: Path | None = None
    """Another entity folder than the run's own."""
    krt: Path | None = None
    """Another camera file."""
    frame_list: Path | None = None
    """Another frame list."""
    test_segments: tuple[str, ...] | None = None
    """Other held-out prefixes; an empty list evaluates every segment."""
    camera_split: Path | None = None
    """Another split; cameras under `test` that were never trained get the mean colour row. With a published file, its
    `train` cameras are those of the file's colour rows."""
    batch_size: int = 8
    lr: float = 3e-4
    """Rate of the test-time fitting."""
    fit_batches: int = 501
    """Batches of every pass but the last."""
    rendered: bool = False
    """Also draw the views and report PSNR, SSIM and a perceptual distance, over covered pixels and over the full
    frame, in linear colours."""
    lpips: bool = True
    """With --rendered, the perceptual distance: LPIPS where its backbone is given, else ST-LPIPS."""
    lpips_backbone: Path | None = None
    """torchvision's VGG16 weights (vgg16-397923af.pth), by path."""


@dataclass(frozen=True)
class Figures:
    """Means over a test set: the loss terms, the errors in millimetres and grey levels, and those of the mean face."""

    losses: dict[str, float]
    extra: dict[str, float]


def measure(
    model: MultifaceAvatar,
    objective: Objective,
    passes: Sequence[Sequence[MultifaceBatch] | Iterator[MultifaceBatch]],
    *,
    fitted: Sequence[nn.Parameter],
    lr: float,
    noise_scale: float,
) -> dict[str, float]:
    """Mean losses of the last pass, every batch measured before its own fitting step.

    Args:
        model: its networks are stepped where `fitted` holds their parameters: give a copy.
        objective: the losses.
        passes: batches of each pass, on the model's device.
        fitted: parameters that are fitted at test time; none for a plain evaluation.
        lr: of the fitting (Adam, all loss terms with their weights, no clipping).
        noise_scale: of the latent noise; 0 takes the mean of the codes.
    """
    model.avatar.eval()
    model.colour.eval()
    optimiser = Adam(fitted, lr=lr) if fitted else None
    generator = torch.Generator().manual_seed(0)
    totals: dict[str, float] = {}
    count = 0
    for index, batches in enumerate(passes):
        for batch in batches:
            noise = torch.randn(len(batch.verts), model.avatar.latent, generator=generator).to(batch.verts)
            with torch.set_grad_enabled(optimiser is not None):
                prediction = predict(
                    model.avatar,
                    model.colour,
                    batch.average,
                    batch.verts,
                    batch.view,
                    batch.row,
                    noise_scale * noise if noise_scale else None,
                )
                terms = objective.terms(prediction, batch)
            if index == len(passes) - 1:
                count += 1
                for name, value in terms.items():
                    totals[name] = totals.get(name, 0.0) + float(value.detach())
            if optimiser is not None:
                optimiser.zero_grad()
                objective.total(terms).backward(inputs=list(fitted))
                optimiser.step()
    return {name: value / count for name, value in totals.items()}


def evaluate(config: EvaluateConfig) -> dict[str, float]:
    """Print and return the figures of a run; one line is added to `result.txt` in its folder.

    Texture losses are printed normalised and in grey levels squared (`denorm_tex`), mesh losses over the vertex
    variance.
    """
    folder = _imported(config.run, config.data_dir, config.camera_split) if config.run.is_file() else config.run
    run = Run.open(folder, "multiface")
    trained = run.config(MultifaceConfig)
    changes = {
        "data_dir": config.data_dir,
        "krt": config.krt,
        "frame_list_test": config.frame_list,
        "test_segments": config.test_segments,
        "camera_split": config.camera_split,
    }
    settings = dataclasses.replace(trained, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
    model = MultifaceAvatar.from_run(folder, config.which)
    capture = Capture(settings)
    # Colour rows are the run's, whatever the split now says.
    capture.rows = {name: row for row, name in enumerate(model.template.trained)}
    samples = capture.samples("valid")
    photos = settings.lambda_screen > 0 or config.rendered
    views = capture.views(samples, photos)
    weight = loss_weight(settings.loss_weight_mask, settings.tex_size) if settings.loss_weight_mask else None
    objective = Objective(settings, model.normaliser, model.topology, weight)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, objective = model.to(device), objective.to(device)
    started = time.monotonic()
    print(f"#test samples {len(samples)}; protocol {config.protocol}")
    model = MultifaceAvatar(copy.deepcopy(model.avatar), copy.deepcopy(model.colour), model.template, settings).to(
        device
    )
    fitted: list[nn.Parameter] = []
    if config.protocol != "plain":
        fitted += list(model.colour.parameters())
    if config.protocol == "original":
        fitted += list(model.avatar.enc.parameters())
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist()

    def batches(limit: int | None) -> Iterator[MultifaceBatch]:
        starts = itertools.islice(range(0, len(order), config.batch_size), limit)
        for start in starts:
            yield _on(views.batch(order[start : start + config.batch_size]), device)

    passes = [batches(config.fit_batches) for _ in range(config.passes - 1 if fitted else 0)] + [batches(None)]
    figures = measure(
        model,
        objective,
        passes,
        fitted=fitted,
        lr=config.lr,
        noise_scale=settings.latent_noise if config.protocol == "original" else 0.0,
    )
    figures["denorm_tex"] = figures.get("tex", math.nan) * objective.tex_var
    figures |= against_mean_face(model, objective, batches(None))
    if config.rendered:
        figures |= rendered_views(model, objective, batches(None), lpips=config.lpips, backbone=config.lpips_backbone)
    line = losses_line(figures)
    print(f"{line}    denormalised tex {figures['denorm_tex']:.6f}")
    for name, value in figures.items():
        print(f"  {name:42s} {value:.6g}")
    print(f"Testing takes {time.monotonic() - started:.1f} seconds")
    append_result(run.folder, f"{config.protocol} {config.which} {line} {figures['denorm_tex']:.6f}")
    return figures


def _imported(weights: Path, data_dir: Path | None, camera_split: Path | None) -> Path:
    if data_dir is None:
        raise UserError("is a weight file: give the folder of its entity by --data-dir, too", path=weights)
    run = Path("runs") / weights.stem
    if not (run / "config.yaml").exists():
        import_weights(weights, run, data_dir, camera_split)
    elif weights.resolve() not in [Path(parent).resolve() for parent in Run.open(run).header()["parents"]]:
        raise UserError(
            f"would be imported to {run}, which is a run of other weights: remove that, or use likeness import "
            "multiface with another --out",
            path=weights,
        )
    return run


def _on(batch: MultifaceBatch, device: torch.device) -> MultifaceBatch:
    changes = {
        field.name: value.to(device)
        for field in dataclasses.fields(batch)
        if (value := getattr(batch, field.name)) is not None
    }
    return dataclasses.replace(batch, **changes)
