"""The training loop of every method."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from likeness.engine.averages import Averages
from likeness.engine.batches import Batches, iterate
from likeness.engine.checkpoints import Tag, load_tensors, parse_tag
from likeness.engine.config import EngineConfig, changed_fields
from likeness.engine.context import Context
from likeness.engine.logs import Logs
from likeness.engine.processes import Interruption, autocast, launch
from likeness.engine.progress import Progress
from likeness.engine.run import Run
from likeness.engine.stage import EpochReport, Stage, evaluating
from likeness.engine.updates import Updates
from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.nets.memory import keep_freed_memory

if TYPE_CHECKING:
    from lightning_fabric import Fabric

C = TypeVar("C", bound=EngineConfig)


class Interrupted(KeyboardInterrupt):
    """Training stopped on request after it wrote a checkpoint; the text says how to go on."""


def train(
    kind: type[Stage], config: EngineConfig, *, method: str, stage: str, argv: Sequence[str] | None = None
) -> Run:
    """Train stage `kind` with `config`; returns its run.

    Raises:
        UserError: the run cannot be started or resumed as asked.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was written.
    """
    fabric = launch(config)
    trainer = Trainer(kind, config, fabric, method=method, stage=stage, argv=list(sys.argv if argv is None else argv))
    trainer.fit()
    return trainer.run


class Trainer:
    """One training in one process."""

    def __init__(
        self, kind: type[Stage], config: EngineConfig, fabric: "Fabric", *, method: str, stage: str, argv: list[str]
    ):
        self.config, self.fabric, self.method, self.stage_name, self.argv = config, fabric, method, stage, argv
        self.rank, self.world, self.device = fabric.global_rank, fabric.world_size, fabric.device
        self.run = Run.of(config)
        self.resumed_from = self._find_resume()
        keep_freed_memory()
        torch.manual_seed(config.seed)
        self.stage = kind(config)
        for network in self.stage.networks.values():
            network.to(self.device)
        self.epoch, self.position = 1, 0
        self.best: tuple[Tag, float] | None = None
        self.history: dict[str, list[float]] = {}
        self.spent = 0.0
        self._build()

    def fit(self) -> None:
        """Train until the configured end."""
        batches = self.stage.batches("train", self.rank, self.world)
        if batches is None or len(batches) == 0:
            raise UserError("the training split holds no batch: give it more samples or a smaller --batch-size")
        self._restore()
        if self.rank == 0:
            self.run.record(self.method, self.stage_name, self.stage.parents, self.config, self.argv)
        self.fabric.barrier()
        self.logs = Logs(self.run, self.ctx.update_count, self.history) if self.rank == 0 else None
        with Interruption() as interruption, Progress(self.rank == 0, self._total(batches)) as progress:
            progress.advance(self.ctx.update_count)
            try:
                if self.config.validate_first and self.resumed_from is None:
                    self._validate()
                while self.epoch <= self.config.epochs and not self._enough():
                    self._epoch(batches, interruption, progress)
            finally:
                if self.logs is not None:
                    self.logs.close()

    def _build(self) -> None:
        self.updates = Updates(self.stage.networks, self.stage.optimizers(), self.stage.updates())
        self._average()

    def _average(self) -> None:
        self.averages = Averages(self.stage.networks, self.stage.averages())
        self.ctx = Context(
            self.updates,
            self.averages,
            seed=self.config.seed,
            splits=self.config.splits,
            device=self.device,
            rank=self.rank,
            world=self.world,
        )

    def _epoch(self, batches: Batches, interruption: Interruption, progress: Progress) -> None:
        started = time.monotonic()
        batches.set_epoch(self.epoch)
        for network in self.stage.networks.values():
            network.train()
        last_batch: Any = None
        self.valid: dict[str, float] = {}
        for batch in iterate(batches, self.position, self.config.workers):
            last_batch = self._step(batch)
            progress.advance(1, self.epoch, self.ctx.latest)
            self._within_epoch(last_batch, progress)
            if interruption.anywhere(self.device, self.world):
                self.spent += time.monotonic() - started
                self._stop(progress)
            if self._enough():
                break
        finished = self.position >= len(batches)
        means = self.ctx.epoch_means()
        self._require_finite(means)
        if self.config.validate_unit == "epoch" and self._due(self.config.validate_every, self.epoch):
            self.valid = self._validate()
        if self._visuals_unit == "epoch" and self._due(self.config.visuals_every, self.epoch):
            self._pictures(last_batch, str(self.epoch))
        seconds = self.spent + time.monotonic() - started
        report = EpochReport(self.epoch, self.ctx.update_count, means, self.valid, self.updates.rates(), seconds)
        if self.logs is not None:
            self.logs.epoch(report, self.ctx.rejections)
            self.stage.epoch_end(report, self.run)
        progress.report(report)
        tag = Tag(self.epoch) if finished else Tag(self.epoch, self.ctx.update_count)
        improved = self._improved(tag, self.valid)
        self.ctx.forget_epoch()
        self.spent = 0.0
        if finished:
            self.epoch, self.position = self.epoch + 1, 0
        ending = self.epoch > self.config.epochs or self._enough()
        due = self.config.save_unit == "epoch" and tag.epoch % self.config.save_every == 0
        if due or ending or improved:
            self._save(tag)

    def _step(self, batch: Any) -> Any:
        batch = self.ctx.place(batch)
        self.ctx.begin(self.epoch, self.position, batch)
        with autocast(self.config, self.device):
            self.stage.step(batch, self.ctx)
        self.ctx.finish()
        self.position += 1
        return batch

    def _within_epoch(self, batch: Any, progress: Progress) -> None:
        update = self.ctx.update_count
        if self.logs is not None and update and update % self.config.log_every == 0:
            values = {name: float(value) for name, value in self.ctx.latest.items()}
            self.logs.step(self.epoch, update, values, self.updates.rates(), progress.pace())
        improved = False
        tag = Tag(self.epoch, update)
        if self.config.validate_unit == "update":
            if self._due(self.config.validate_every, update):
                self.valid = self._validate()
                improved = self._improved(tag, self.valid)
        if self._visuals_unit == "update" and self._due(self.config.visuals_every, update):
            self._pictures(batch, str(tag))
        if self._due(self.config.images_every, update):
            self._show(batch)
        if improved or (self.config.save_unit == "update" and update and update % self.config.save_every == 0):
            self._save(tag)

    def _validate(self) -> dict[str, float]:
        with autocast(self.config, self.device):
            values = self.stage.validate(self.ctx)
        for network in self.stage.networks.values():
            network.train()
        if self.logs is not None:
            self.logs.validation(self.epoch, self.ctx.update_count, values)
        return values

    def _pictures(self, batch: Any, stem: str) -> None:
        if self.logs is None:
            return
        held_out = self.stage.batches("valid", 0, 1)
        with evaluating(self.stage.networks), torch.no_grad(), autocast(self.config, self.device):
            for phase, shown in (("train", batch), ("test", held_out[0] if held_out else None)):
                if shown is not None:
                    pictures = self.stage.visuals(self.ctx.place(shown), self.ctx)
                    self.logs.pictures(phase, stem, self.ctx.update_count, pictures)

    def _show(self, batch: Any) -> None:
        if self.logs is None:
            return
        with evaluating(self.stage.networks), torch.no_grad(), autocast(self.config, self.device):
            self.logs.images(self.ctx.update_count, self.stage.visuals(batch, self.ctx))

    @property
    def _visuals_unit(self) -> str:
        return self.config.visuals_unit or self.config.validate_unit

    def _improved(self, tag: Tag, values: dict[str, float]) -> bool:
        if self.stage.best is None or self.stage.best[0] not in values:
            return False
        name, way = self.stage.best
        value = values[name]
        better = self.best is None or (value < self.best[1] if way == "min" else value > self.best[1])
        if better:
            self.best = (tag, value)
        return better

    def _save(self, tag: Tag) -> None:
        """Write a checkpoint; processes beyond the first add the buffers in which they may differ."""
        folder = self.run.checkpoints
        if self.rank > 0:
            buffers = {name: dict(network.named_buffers()) for name, network in self.stage.networks.items()}
            with atomic_path(folder.path(tag, f"buffers{self.rank}")) as temporary:
                torch.save(buffers, temporary)
        means = self.ctx.epoch_means()
        self._require_finite(means)
        self.fabric.barrier()
        if self.rank == 0:
            networks: dict[str, nn.Module] = {**self.stage.networks, **self.averages.networks}
            state = {
                "epoch": self.epoch,
                "position": self.position,
                "update_count": self.ctx.update_count,
                "optimizers": self.updates.state_dict(),
                "refreshes": self.averages.refreshes,
                "stage": self.stage.state_dict(),
                "sums": self.ctx.sums if self.world == 1 else _as_sums(means, self.ctx.counts),
                "counts": self.ctx.counts,
                "rejections": self.ctx.rejections,
                "best": None if self.best is None else (str(self.best[0]), self.best[1]),
                "history": self.history,
                "spent": self.spent,
            }
            folder.save(tag, networks, state)
            best = None if self.best is None else self.best[0]
            folder.index(best)
            folder.retain(self.config.keep_last, self.config.keep_every, best)
        self.fabric.barrier()

    def _require_finite(self, means: dict[str, float]) -> None:
        """Refuse to write a checkpoint of a training that came apart, over which good ones would be removed."""
        broken = [f"{name} {mean:g}" for name, mean in means.items() if not math.isfinite(mean)]
        if broken:
            whole = self.run.checkpoints.whole()
            way = f"the same command goes on from checkpoint {whole[-1]}" if whole else "start anew"
            raise UserError(
                f"training came apart in epoch {self.epoch} ({', '.join(broken)}); {way} with a lower learning rate",
                path=self.run.folder,
            )

    def _stop(self, progress: Progress) -> None:
        tag = Tag(self.epoch, self.ctx.update_count)
        self._save(tag)
        raise Interrupted(
            f"stopped after update {self.ctx.update_count}; checkpoint {tag} is written in {self.run.folder}: "
            "the same command goes on from there"
        )

    def _find_resume(self) -> tuple[Run, Tag] | None:
        choice = self.config.resume
        if choice == "none":
            if self.run.checkpoints.whole():
                raise UserError(
                    "this run has checkpoints already, and --resume none asks for a fresh one: choose another "
                    "--experiment-name, or remove the folder",
                    path=self.run.folder,
                )
            return None
        if choice == "auto":
            whole = self.run.checkpoints.whole()
            return (self.run, whole[-1]) if whole else None
        path = Path(choice)
        if path.is_dir():
            run = Run.open(path)
            return run, run.checkpoints.find("last")
        if path.name.endswith("_state.pth") and path.is_file():
            return Run.open(path.parent.parent), parse_tag(path.name.removesuffix("_state.pth"))
        raise UserError("is neither a run nor a checkpoint's `<epoch>_state.pth`: give one of these", path=path)

    def _restore(self) -> None:
        if self.resumed_from is None:
            self.stage.initialise(self.ctx)
            self._average()
            return
        run, tag = self.resumed_from
        checkpoints = run.checkpoints
        networks: dict[str, nn.Module] = {**self.stage.networks, **self.averages.networks}
        for name, network in networks.items():
            checkpoints.load_network(tag, name, network)
        extra = checkpoints.path(tag, f"buffers{self.rank}")
        if self.rank > 0 and extra.is_file():
            for name, buffers in load_tensors(extra).items():
                self.stage.networks[name].load_state_dict(buffers, strict=False)
        state = checkpoints.load_state(tag)
        self.epoch, self.position = state["epoch"], state["position"]
        self.ctx.epoch, self.ctx.update_count = self.epoch, state["update_count"]
        self.updates.load_state_dict(state["optimizers"])
        self.averages.refreshes = dict(state["refreshes"])
        self.stage.load_state_dict(state["stage"])
        self.ctx.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.ctx.counts, self.ctx.rejections = dict(state["counts"]), dict(state["rejections"])
        self.best = None if state["best"] is None else (parse_tag(state["best"][0]), state["best"][1])
        self.history, self.spent = state["history"], state["spent"]
        if self.rank == 0:
            changes = changed_fields(run.config(type(self.config)), self.config) if run.config_file.is_file() else {}
            told = "".join(
                f"\n  {name}: {old!r} -> {new!r}" for name, (old, new) in changes.items() if name != "resume"
            )
            print(f"resuming {run.folder} at checkpoint {tag}{', with changes:' + told if told else ''}")

    def _enough(self) -> bool:
        return self.config.max_updates is not None and self.ctx.update_count >= self.config.max_updates

    def _total(self, batches: Batches) -> int:
        steps = self.config.epochs * len(batches)
        return steps if self.config.max_updates is None else min(steps, self.config.max_updates)

    @staticmethod
    def _due(every: int, number: int) -> bool:
        return every > 0 and number > 0 and number % every == 0


def _as_sums(means: dict[str, float], counts: dict[str, int]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(mean * counts[name]) for name, mean in means.items()}
