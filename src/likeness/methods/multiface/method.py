"""Training of the deep appearance model on the engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from likeness.engine import Batches, Context, IndexedBatches, OptimizerSpec, Run, Stage, UpdateSpec, evaluating
from likeness.engine import batch as batches_
from likeness.errors import UserError
from likeness.formats.multiface import (
    open_entity,
    read_camera_split,
    read_frame_list,
    read_krt,
    read_statistics,
    read_transform,
)
from likeness.methods.multiface.colour import Colour
from likeness.methods.multiface.config import MultifaceConfig
from likeness.methods.multiface.data import (
    MultifaceBatch,
    Normaliser,
    Sample,
    ViewSet,
    entity_topology,
    loss_weight,
    select_samples,
)
from likeness.methods.multiface.losses import kl_divergence, screen_loss, texture_loss, vertex_loss
from likeness.methods.multiface.model import Prediction, Template, build, device_topology, predict
from likeness.methods.multiface.networks import Avatar
from likeness.methods.multiface.pictures import display_curve, warped_lines
from likeness.methods.multiface.published import load_weights_into
from likeness.methods.multiface.screen import MeshTopology, draw_uv
from likeness.render.texture import sample_texture

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


class Capture:
    """One entity as a configuration names it: frames, cameras, statistics."""

    def __init__(self, config: MultifaceConfig):
        self.config = config
        self.entity = open_entity(config.data_dir)
        self.krt_path = config.krt or self.entity.krt
        self.records = read_krt(self.krt_path)
        self.statistics = read_statistics(self.entity)
        if config.camera_split is None:
            self.cameras = {"train": tuple(self.records), "test": tuple(self.records)}
        else:
            split = read_camera_split(config.camera_split)
            # Colour rows follow the KRT file, as everything else that is counted by camera.
            self.cameras = {key: self._in_order(split[key]) for key in ("train", "test")}
        self.rows = {name: row for row, name in enumerate(self.cameras["train"])}

    def samples(self, split: str) -> list[Sample]:
        """Samples of `train` or `valid`.

        Raises:
            UserError: there are none.
        """
        train = split == "train"
        path = (self.config.frame_list_train if train else self.config.frame_list_test) or self.entity.frame_list
        chosen = select_samples(
            self.entity,
            read_frame_list(path),
            self.cameras["train" if train else "test"],
            only=() if train else self.config.test_segments,
            exclude=self.config.test_segments if train else (),
        )
        if not chosen:
            raise UserError(
                f"no {split} sample: no listed frame {'outside' if train else 'inside'} the held-out segments "
                f"{', '.join(self.config.test_segments) or '(none)'} has textures of its views and their mean "
                f"(unwrapped_uv_1024/<segment>/average) under {self.entity.root}; set --test-segments",
                path=path,
            )
        return chosen

    def views(self, samples: Sequence[Sample], photos: bool) -> ViewSet:
        """The samples, fetched at the configured sizes."""
        return ViewSet(
            self.entity,
            samples,
            self.records,
            self.rows,
            self.statistics,
            self.config.tex_size,
            photo_size=self.config.resolution if photos else None,
            screen_scale=self.config.screen_scale,
        )

    def template(self, samples: Sequence[Sample]) -> Template:
        """What a run keeps of the entity."""
        first = samples[0]
        return Template(
            topology=entity_topology(self.entity, samples, len(self.statistics.vert_mean)),
            statistics=self.statistics,
            records=self.records,
            trained=self.cameras["train"],
            transform=read_transform(self.entity.transform(first.segment, first.frame)),
        )

    def _in_order(self, names: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in self.records]
        if unknown:
            raise UserError(
                f"has no record of the cameras {', '.join(unknown)} that {self.config.camera_split} names: take them "
                "off the split, or fetch metadata again",
                path=self.krt_path,
            )
        return tuple(name for name in self.records if name in names)


class Objective:
    """The loss terms of one entity; holds what they need on one device."""

    def __init__(self, config: MultifaceConfig, normaliser: Normaliser, topology: MeshTopology, weight: Tensor | None):
        self.config, self.normaliser, self.topology, self.weight = config, normaliser, topology, weight
        self.tex_var = normaliser.tex_std**2
        self.weights = {
            "verts": config.lambda_verts,
            "tex": config.lambda_tex,
            "screen": config.lambda_screen,
            "kl": config.lambda_kl,
        }
        self.size = (config.resolution[0] // config.screen_scale, config.resolution[1] // config.screen_scale)

    def to(self, device: torch.device) -> Objective:
        """The same on `device`."""
        weight = None if self.weight is None else self.weight.to(device)
        return Objective(self.config, self.normaliser.to(device), self.topology.to(device), weight)

    def draw(self, prediction: Prediction, projection: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures and loss weights, both (B, 3, H, W), of predictions."""
        verts = self.normaliser.verts(prediction.verts)
        texture = self.normaliser.texture(prediction.texture)
        raster, uv = draw_uv(verts, projection, self.topology, self.size)
        picture = sample_texture(texture, uv, raster.mask)
        if self.weight is None:
            return picture, raster.mask.float()
        weight = sample_texture(self.weight[None], uv, raster.mask)
        return picture, weight

    def terms(self, prediction: Prediction, batch: MultifaceBatch) -> dict[str, Tensor]:
        """Named terms of the loss; those whose weight is 0 are left out."""
        terms = {}
        if self.weights["verts"]:
            terms["verts"] = vertex_loss(prediction.verts, batch.verts)
        if self.weights["tex"]:
            terms["tex"] = texture_loss(prediction.texture, batch.texture, batch.mask)
        if self.weights["screen"] and batch.photo is not None:
            picture, weight = self.draw(prediction, batch.projection)
            terms["screen"] = screen_loss(picture, batch.photo, weight, self.tex_var)
        if self.weights["kl"]:
            terms["kl"] = kl_divergence(prediction.code)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """() weighted sum."""
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()


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
                factory=lambda parameters: Adam(parameters, lr=self.config.lr, fused=True),
                schedule=lambda epochs: decay**epochs,
                per="epoch",
            ),
            "colour": OptimizerSpec(
                networks=("colour",), factory=lambda parameters: Adam(parameters, lr=self.config.lr, fused=True)
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
            "cameras": list(self.template.trained),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if list(state["cameras"]) != list(self.template.trained):
            raise UserError(
                f"the checkpoint's colour rows belong to the cameras {', '.join(state['cameras'])}, the data now "
                f"gives {', '.join(self.template.trained)}: use the same KRT and camera split, or start a new run"
            )
        self.guard.last, self.guard.dropped = dict(state["last"]), state["dropped"]
