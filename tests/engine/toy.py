"""A small adversarial stage that uses everything the engine offers, and a script that trains it in its own process."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from likeness.engine import (
    AverageSpec,
    EngineConfig,
    IndexedBatches,
    OptimizerSpec,
    Stage,
    UpdateSpec,
    sample,
    shared,
    train,
)
from likeness.nets.batchnorm import BatchNorm1d


@dataclass(frozen=True, kw_only=True)
class ToyConfig(EngineConfig):
    size: int = 22
    """Number of points."""
    lr: float = 1e-2
    """Learning rate."""
    penalty: float = 0.1
    """Weight of the critic's gradient penalty."""
    noise: float = 0.0
    """Noise on the generator's input."""
    reject_position: int = -1
    """Position in each epoch whose batch is dropped."""


@dataclass(frozen=True)
class ToyBatch:
    points: Tensor = sample()  # (N, 3)
    label: Tensor | None = sample()
    scale: Tensor = shared()


class ToyStage(Stage[ToyConfig, ToyBatch]):
    best = ("fit", "min")

    def __init__(self, config: ToyConfig):
        super().__init__(config)
        self.networks = {
            "generator": nn.Sequential(nn.Linear(3, 8), BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)),
            "critic": nn.Sequential(nn.Linear(3, 8), BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)),
        }
        if config.noise == 0.0:
            self.networks["generator"][3].p = 0.0
        self.points = torch.randn(64, 3, generator=torch.Generator().manual_seed(7))
        self.accepted = 0

    def optimizers(self):
        adam = lambda params: torch.optim.Adam(params, lr=self.config.lr, betas=(0.5, 0.999))  # noqa: E731
        return {
            "generator": OptimizerSpec(factory=adam, networks=("generator",), schedule=lambda n: 0.99**n),
            "critic": OptimizerSpec(factory=adam, networks=("critic",), schedule=lambda n: 0.5**n, per="epoch"),
        }

    def updates(self):
        return {
            "generator": UpdateSpec(("generator",), weights={"fit": 2.0}, clip_norm=10.0),
            "critic": UpdateSpec(("critic",)),
            "penalty": UpdateSpec(("critic",), weights={"r1": self.config.penalty}),
        }

    def averages(self):
        return {"generator_ema": AverageSpec(of="generator", decay=lambda k: min(0.9, k / (10 + k)), after="generator")}

    def batches(self, split, rank, world):
        points = self.points[: self.config.size] if split == "train" else self.points[self.config.size :]

        def fetch(indices):
            return ToyBatch(points[torch.from_numpy(indices)], None, torch.tensor(2.0))

        seed = self.config.seed if split == "train" else None
        return IndexedBatches(len(points), self.config.batch_size, fetch, seed=seed, rank=rank, world=world)

    def forward(self, batch, ctx):
        noise = torch.randn(batch.points.shape, generator=ctx.generator("z"))
        return self.networks["generator"](batch.points + self.config.noise * noise) * batch.scale

    def step(self, batch, ctx):
        if ctx.position == self.config.reject_position:
            ctx.reject("asked to")
            return
        for part in ctx.splits(batch):
            fake = self.forward(part, ctx)
            critic = self.networks["critic"]
            terms = {"fit": (fake - part.points).square().mean(), "fool": softplus(-critic(fake)).mean()}
            ctx.backward("generator", terms)
        ctx.apply("generator")
        real = batch.points.clone().requires_grad_()
        scores = critic(real)
        loss = softplus(-scores).mean() + softplus(critic(self.forward(batch, ctx).detach())).mean()
        ctx.update("critic", {"d": loss})
        (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
        ctx.update("penalty", {"r1": slope.square().sum(1).mean()})
        self.accepted += 1

    def measure(self, batch, ctx):
        return {"fit": (self.forward(batch, ctx) - batch.points).square().mean()}

    def visuals(self, batch, ctx):
        return {"points": torch.sigmoid(batch.points[:4]).T[:, :, None]}

    def state_dict(self):
        return {"accepted": self.accepted}

    def load_state_dict(self, state):
        self.accepted = state["accepted"]


def run_toy(folder: Path, name: str, **options):
    config = ToyConfig(
        experiment_dir=folder, experiment_name=name, batch_size=4, epochs=3, accelerator="cpu", **options
    )
    return train(ToyStage, config, method="toy", stage="toy", argv=["toy"])


def final_weights(run) -> dict[str, Tensor]:
    tag = run.checkpoints.find("last")
    return {
        f"{name}.{key}": value
        for name in ("generator", "critic", "generator_ema")
        for key, value in torch.load(run.checkpoints.path(tag, name), weights_only=True).items()
    }


if __name__ == "__main__":
    folder, name, kill_at, options = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), eval(sys.argv[4])
    torch.set_num_threads(1)
    save, calls = torch.save, [0]

    def counting_save(content, path):
        save(content, path)
        calls[0] += 1
        if calls[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = counting_save
    run_toy(folder, name, **options)
