"""Training of the deep appearance model on the engine."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likeness.engine import (
    Batches,
    Context,
    EpochReport,
    IndexedBatches,
    OptimizerSpec,
    Run,
    Stage,
    UpdateSpec,
    evaluating,
)
from likeness.engine import batch as batches_
from likeness.errors import UserError
from likeness.files import write_text
from likeness.methods.multiface.colour import Colour
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import (
    MultifaceBatch,
    Normaliser,
    loss_weight,
)
from likeness.methods.multiface.model import Prediction, build, device_topology, predict
from likeness.methods.multiface.networks import Avatar
from likeness.methods.multiface.objective import Objective
from likeness.methods.multiface.optimiser import Adam
from likeness.methods.multiface.pictures import display_curve, warped_lines
from likeness.methods.multiface.published import load_weights_into
from likeness.methods.multiface.recording import Capture

RECENT = 20
"""Accepted batches whose mean is reported as the training loss."""
MOST_REJECTIONS = 20
"""After so many dropped batches in a row the next is taken: the reference itself must have been the odd one."""


class SpikeGuard:
    """Drops batches whose loss leaps: compares with the last accepted batch.

    Args:
        threshold: a ratio.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold
        self.last: dict[str, float] = {}
        self.dropped = 0

    def accepts(self, values: dict[str, float]) -> bool:
        """Whether a batch with these losses may be stepped on; what is accepted becomes the reference."""
        leaps = any(
            not math.isfinite(value) or (name in self.last and value > self.threshold * self.last[name])
            for name, value in values.items()
        )
        finite = all(map(math.isfinite, values.values()))
        if leaps and not (finite and self.dropped >= MOST_REJECTIONS):
            self.dropped += 1
            return False
        self.last, self.dropped = dict(values), 0
        return True


def losses_line(terms: Mapping[str, float]) -> str:
    """Losses as published ones are given: screen, mesh, texture, all normalised; nan for a term without weight."""
    values = [terms.get(name, math.nan) for name in ("screen", "verts", "tex")]
    return f"(screen / mesh / tex) {' / '.join(f'{value:.6f}' for value in values)}"


def append_result(folder: Path, line: str) -> None:
    """Add a line to `result.txt` of a run."""
    path = folder / "result.txt"
    earlier = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_text(path, f"{earlier}{line}\n")


class AvatarStage(Stage[MultifaceConfig, MultifaceBatch]):
    """Encoder, decoder and colour correction in one backward; two optimisers, one clip."""

    def __init__(self, config: MultifaceConfig):
        super().__init__(config)
        self.capture = Capture(config)
        self.train_samples = self.capture.samples("train")
        self.test_samples = self.capture.samples("valid")
        statistics = self.capture.statistics
        avatar, colour = build(config, len(statistics.vert_mean), len(self.capture.rows))
        self.avatar: Avatar = avatar
        self.colour: Colour = colour
        self.networks: dict[str, nn.Module] = {"avatar": avatar, "colour": colour}
        self.best = ("screen" if config.lambda_screen > 0 else "tex", "min")
        self.parents = (str(config.start_from),) if config.start_from else ()
        self.guard = SpikeGuard(config.pass_threshold)
        self.recent: deque[dict[str, float]] = deque(maxlen=RECENT)
        self.template = self.capture.template(self.train_samples)
        weight = loss_weight(config.loss_weight_mask, config.tex_size) if config.loss_weight_mask else None
        self._objective = Objective(
            config, Normaliser.of(statistics, config.tex_size), device_topology(self.template.topology), weight
        )
        self._placed: tuple[torch.device, Objective] | None = None

    def objective(self, device: torch.device) -> Objective:
        """The loss on `device`."""
        if self._placed is None or self._placed[0] != device:
            self._placed = (device, self._objective.to(device))
        return self._placed[1]

    def optimizers(self) -> dict[str, OptimizerSpec]:
        decay = self.config.lr_decay
        return {
            "avatar": OptimizerSpec(
                networks=("avatar",),
                factory=lambda parameters: Adam(parameters, lr=self.config.lr),
                schedule=lambda epochs: decay**epochs,
                per="epoch",
            ),
            "colour": OptimizerSpec(
                networks=("colour",), factory=lambda parameters: Adam(parameters, lr=self.config.lr)
            ),
        }

    def updates(self) -> dict[str, UpdateSpec]:
        weights = self._objective.weights
        return {
            "avatar": UpdateSpec(optimizers=("avatar", "colour"), weights=weights, clip_norm=self.config.clip_norm),
            "colour": UpdateSpec(optimizers=("colour",), weights=weights),
        }

    def batches(self, split: str, rank: int, world: int) -> Batches[MultifaceBatch] | None:
        samples = {"train": self.train_samples, "valid": self.test_samples}.get(split)
        if samples is None:
            return None
        if split == "train" and rank == 0:
            print(f"#train samples {len(self.train_samples)}\n#test samples {len(self.test_samples)}")
            print("\n".join(self.capture.left_out() or ["every listed frame is used"]))
        views = self.capture.views(samples, photos=self.config.lambda_screen > 0)
        size = min(self.config.batch_size, len(samples))
        return IndexedBatches(len(samples), size, views.batch, seed=self.config.seed, rank=rank, world=world)

    def initialise(self, ctx: Context) -> None:
        if self.config.start_from is not None:
            load_weights_into(self.config.start_from, self.avatar, self.colour, self.template.trained)
        if ctx.rank == 0:
            self.template.save(Run.of(self.config).folder)

    def predict(self, batch: MultifaceBatch, ctx: Context) -> Prediction:
        """Predictions of a batch, with latent noise."""
        noise = torch.randn(len(batch.verts), self.avatar.latent, generator=ctx.generator("code"), device=ctx.device)
        return predict(
            self.avatar,
            self.colour,
            batch.average,
            batch.verts,
            batch.view,
            batch.row,
            self.config.latent_noise * noise,
        )

    def step(self, batch: MultifaceBatch, ctx: Context) -> None:
        objective = self.objective(ctx.device)
        watched: dict[str, float] = {}
        for part in ctx.splits(batch):
            terms = objective.terms(self.predict(part, ctx), part)
            ctx.backward("avatar", terms)
            share = batches_.count(part) / batches_.count(batch)
            for name, value in {"total": objective.total(terms), **terms}.items():
                watched[name] = watched.get(name, 0.0) + share * float(ctx.mean(value.detach()))
        if self.guard.accepts({name: watched[name] for name in ("total", "verts", "kl") if name in watched}):
            self.recent.append(watched)
            ctx.log("total", watched["total"])
            ctx.apply("avatar")
            return
        for parameter in ctx.updates.parameters_of("avatar"):
            parameter.grad = None
        ctx.reject("loss leapt")

    def validate(self, ctx: Context) -> dict[str, float]:
        """Fit the colours to the first test batches, one live step each, then measure the same batches."""
        batches = self.batches("valid", ctx.rank, ctx.world)
        assert batches is not None
        batches.set_epoch(1)
        objective = self.objective(ctx.device)
        positions = range(min(len(batches), self.config.validation_batches))
        totals: dict[str, Tensor] = {}
        with evaluating(self.networks):
            for position in positions:
                batch = ctx.place(batches[position])
                ctx.update("colour", objective.terms(self.predict(batch, ctx), batch))
            with torch.no_grad():
                for position in positions:
                    batch = ctx.place(batches[position])
                    for name, value in objective.terms(self.predict(batch, ctx), batch).items():
                        totals[name] = totals.get(name, torch.zeros((), device=ctx.device)) + value
        return {name: float(ctx.mean(total / len(positions))) for name, total in totals.items()}

    def epoch_end(self, report: EpochReport, run: Run) -> None:
        """At the end of training, print its losses as published ones are given, and add them to `result.txt`."""
        if report.epoch < self.config.epochs and report.update != self.config.max_updates:
            return
        means = {name: sum(terms[name] for terms in self.recent) / len(self.recent) for name in self.recent[-1]}
        line = losses_line(means)
        print(f"training {line}    mean of the last {len(self.recent)} batches")
        if report.valid:
            print(f"validation {losses_line(report.valid)}    with colours fitted")
        append_result(run.folder, f"training {line}")

    def visuals(self, batch: MultifaceBatch, ctx: Context) -> dict[str, Tensor]:
        last = batches_.take(batch, slice(-1, None))
        objective = self.objective(ctx.device)
        prediction = self.predict(last, ctx)
        show = lambda colours: display_curve(colours)[0].clamp(0, 1)  # noqa: E731
        drawn, _ = objective.draw(prediction, last.projection)
        truth = replace(prediction, texture=last.texture, verts=last.verts)
        pictures = {
            "pred": show(drawn),
            "gt": show(objective.draw(truth, last.projection)[0] if last.photo is None else last.photo),
            "pred_tex": show(objective.normaliser.texture(prediction.texture)).flip(1),
            "gt_tex": show(objective.normaliser.texture(last.texture)).flip(1),
        }
        if prediction.decoded.grid is not None:
            pictures["warp_grid"] = warped_lines(prediction.decoded.grid[0])
        return pictures

    def state_dict(self) -> dict[str, Any]:
        return {
            "last": dict(self.guard.last),
            "dropped": self.guard.dropped,
            "recent": list(self.recent),
            "cameras": list(self.template.trained),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if list(state["cameras"]) != list(self.template.trained):
            raise UserError(
                f"the checkpoint's colour rows belong to the cameras {', '.join(state['cameras'])}, the data now "
                f"gives {', '.join(self.template.trained)}: use the same KRT and camera split, or start a new run"
            )
        self.guard.last, self.guard.dropped = dict(state["last"]), state["dropped"]
        self.recent = deque(state["recent"], maxlen=RECENT)
