"""Training of experiments 1 and 3 against the plain program: one 132 x 8 system a pair, inverted one by one."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import Row, best_time
from likeness.engine import train
from likeness.engine.averages import Averages
from likeness.engine.context import Context
from likeness.engine.updates import Updates
from likeness.formats.depthnet3dfaw import LandmarkArchive, save_archive
from likeness.methods.depthnet.config import PRESETS
from likeness.methods.depthnet.data import PairBatch
from likeness.methods.depthnet.losses import gradient_penalty
from likeness.methods.depthnet.method import DepthStage
from likeness.methods.depthnet.networks import Critic, FixedAffineGenerator, critic_input

BATCH, FACES, VALID_FACES, STEPS = 32, 13_671, 4_500, 20
EXPERIMENTS = {
    "experiment 1": ("exp1_lamb1_sd5_nogan_sigma0_fixm", "<= 13 ms"),
    "experiment 3": ("exp1_lamb1_sd5_wgan_dnorm0.1_sigma0_fixm", "<= 34 ms"),
}


def main() -> list[Row]:
    """Measure a step of both experiments, and 100 epochs of experiment 1 from one of them."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, count in (("train", FACES), ("valid", VALID_FACES)):
            save_archive(folder / f"{split}.npz", random_faces(count))
        for title, (preset, goal) in EXPERIMENTS.items():
            config = dataclasses.replace(PRESETS[preset], data=folder, experiment_dir=folder)
            ours, plain = our_step(config), plain_step(config.gan)
            rows.append(Row(f"{title}, step of {BATCH} pairs", ours, "an inverse a pair", plain, goal))
        config = dataclasses.replace(
            PRESETS[EXPERIMENTS["experiment 1"][0]], data=folder, experiment_dir=folder, epochs=1, accelerator="cpu"
        )
        epoch = best_time(
            lambda: train(DepthStage, config, method="depthnet", stage="depth", argv=[]), repeats=1, warm_up=0
        )
        plain_epoch = rows[0].baseline_seconds * -(-FACES // BATCH)
        rows.append(
            Row(
                "100 epochs of experiment 1 (one, x 100)",
                100 * epoch,
                "its steps alone",
                100 * plain_epoch,
                "<= 10 min",
            )
        )
    return rows


def random_faces(count: int) -> LandmarkArchive:
    rng = np.random.default_rng(0)
    return LandmarkArchive(rng.random((count, 66, 2), np.float32), rng.random((count, 66), np.float32) / 10)


def random_batch() -> PairBatch:
    faces = random_faces(2 * BATCH)
    xy, depth = torch.from_numpy(faces.xy), torch.from_numpy(faces.depth)
    return PairBatch(xy[:BATCH], depth[:BATCH], xy[BATCH:], depth[BATCH:])


def our_step(config) -> float:
    """Seconds of one step as the engine takes it."""
    stage = DepthStage(config)
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    cpu = torch.device("cpu")
    ctx = Context(updates, Averages(stage.networks, {}), seed=0, splits=1, device=cpu, rank=0, world=1)
    batch = random_batch()

    def steps() -> None:
        for position in range(STEPS):
            ctx.begin(1, position, batch)
            stage.step(batch, ctx)
            ctx.finish()

    return best_time(steps) / STEPS


def plain_step(gan: bool) -> float:
    """Seconds of the same step with the formulas written down as they stand."""
    generator, critic = FixedAffineGenerator(), Critic()
    adam = lambda net: torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999), foreach=False)  # noqa: E731
    g_optimizer, d_optimizer = adam(generator), adam(critic)
    batch = random_batch()

    def step() -> None:
        depth = generator(batch.source_xy, batch.target_xy).depth
        g_optimizer.zero_grad()
        plain_loss(depth, batch).backward(retain_graph=gan)
        if gan:
            (-critic(critic_input(depth, batch.source_xy)).mean()).backward()
        g_optimizer.step()
        if gan:
            real = critic_input(batch.source_depth, batch.source_xy)
            fake = critic_input(depth.detach(), batch.source_xy)
            d_optimizer.zero_grad()
            (critic(fake).mean() - critic(real).mean()).backward()
            d_optimizer.step()
            d_optimizer.zero_grad()
            (0.1 * gradient_penalty(critic, real)).backward()
            d_optimizer.step()

    return best_time(step)


def plain_loss(depth: Tensor, batch: PairBatch) -> Tensor:
    losses = []
    for xy, z, target in zip(batch.source_xy, depth, batch.target_xy):
        rows = []
        for k in range(66):
            point = torch.stack([xy[k, 0], xy[k, 1], z[k]])
            zero, one = torch.zeros(3), torch.ones(1)
            rows.append(torch.cat([point, zero, one, 0 * one]))
            rows.append(torch.cat([zero, point, 0 * one, one]))
        system = torch.stack(rows)  # (132, 8)
        aims = target.reshape(-1)
        unknowns = torch.inverse(system.T @ system) @ (system.T @ aims)
        losses.append((aims - system @ unknowns).square().mean())
    return torch.stack(losses).mean()
