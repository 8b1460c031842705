"""CycleGAN repair as a stage of the engine."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.engine import Context, EpochReport, OptimizerSpec, Run, Stage, UpdateSpec
from likeness.media.image import grid
from likeness.methods.depthnet.repair.archives import DomainBatches, RepairBatch, read_domains
from likeness.methods.depthnet.repair.config import CHANNELS, RepairConfig
from likeness.methods.depthnet.repair.networks import build_networks
from likeness.methods.depthnet.results import append_result


def score_loss(scores: Tensor, target: float, kind: str) -> Tensor:
    """() mean distance of patch scores from `target`: squared, or cross-entropy of logits."""
    goal = torch.full_like(scores, target)
    return F.mse_loss(scores, goal) if kind == "mse" else F.binary_cross_entropy_with_logits(scores, goal)


def gradient_penalty(discriminator: torch.nn.Module, real: Tensor) -> Tensor:
    """() mean of (|gradient of the summed scores| - 1)^2 at true pictures."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


class RepairStage(Stage[RepairConfig, RepairBatch]):
    """Two generators that share an optimiser, two discriminators with one each."""

    def __init__(self, config: RepairConfig):
        super().__init__(config)
        self.networks = build_networks(*CHANNELS[config.task], config.width, config.blocks)
        self.domains: dict[tuple[Path, ...], tuple] = {}

    def optimizers(self) -> dict[str, OptimizerSpec]:
        config = self.config

        def adam(parameters):
            return torch.optim.Adam(parameters, lr=config.lr, betas=(config.beta1, config.beta2))

        return {
            "generators": OptimizerSpec(adam, networks=("g_atob", "g_btoa")),
            "d_a": OptimizerSpec(adam, networks=("d_a",)),
            "d_b": OptimizerSpec(adam, networks=("d_b",)),
        }

    def updates(self) -> dict[str, UpdateSpec]:
        config = self.config
        weights = {"cycle_aba": config.lamb, "cycle_bab": config.lamb, "identity": config.beta}
        return {
            "generators": UpdateSpec(("generators",), weights=weights),
            "d_a": UpdateSpec(("d_a",), weights={"dnorm_a": config.dnorm}),
            "d_b": UpdateSpec(("d_b",), weights={"dnorm_b": config.dnorm}),
        }

    def batches(self, split: str, rank: int, world: int) -> DomainBatches:
        config = self.config
        if config.data not in self.domains:
            self.domains[config.data] = read_domains(config.data, config.task, CHANNELS[config.task])
        a, b = self.domains[config.data]
        return DomainBatches(a, b, config.batch_size, train=split == "train", seed=config.seed, rank=rank, world=world)

    def step(self, batch: RepairBatch, ctx: Context) -> None:
        nets, kind = self.networks, self.config.loss
        fake_b = nets["g_atob"](batch.a)
        back_a = nets["g_btoa"](fake_b)
        terms = {
            "atob_gen": score_loss(nets["d_b"](fake_b), 1.0, kind),
            "cycle_aba": (back_a - batch.a).abs().mean(),
        }
        if self.config.beta > 0:
            same = (nets["g_atob"](batch.b) - batch.b).abs().mean() + (nets["g_btoa"](batch.a) - batch.a).abs().mean()
            terms["identity"] = same
        ctx.backward("generators", terms)
        fake_a = nets["g_btoa"](batch.b)
        back_b = nets["g_atob"](fake_a)
        ctx.backward(
            "generators",
            {
                "btoa_gen": score_loss(nets["d_a"](fake_a), 1.0, kind),
                "cycle_bab": (back_b - batch.b).abs().mean(),
            },
        )
        for name, real, fake in (("d_a", batch.a, fake_a), ("d_b", batch.b, fake_b)):
            judge = nets[name]
            losses = score_loss(judge(real), 1.0, kind) + score_loss(judge(fake.detach()), 0.0, kind)
            terms = {name: 0.5 * losses}
            if self.config.dnorm > 0:
                terms[f"dnorm_{name[-1]}"] = gradient_penalty(judge, real)
            ctx.backward(name, terms)
        for name in ("generators", "d_a", "d_b"):
            ctx.apply(name)

    def measure(self, batch: RepairBatch, ctx: Context) -> dict[str, Tensor]:
        nets, kind = self.networks, self.config.loss
        fake_b, fake_a = nets["g_atob"](batch.a), nets["g_btoa"](batch.b)
        measures = {
            "atob_gen": score_loss(nets["d_b"](fake_b), 1.0, kind),
            "cycle_aba": (nets["g_btoa"](fake_b) - batch.a).abs().mean(),
            "btoa_gen": score_loss(nets["d_a"](fake_a), 1.0, kind),
            "cycle_bab": (nets["g_atob"](fake_a) - batch.b).abs().mean(),
        }
        for name, real, fake in (("d_a", batch.a, fake_a), ("d_b", batch.b, fake_b)):
            judge = nets[name]
            measures[name] = 0.5 * (score_loss(judge(real), 1.0, kind) + score_loss(judge(fake), 0.0, kind))
        return measures

    def visuals(self, batch: RepairBatch, ctx: Context) -> dict[str, Tensor]:
        """A grid, one row a sample: A, A to B, A to B to A, B, B to A, B to A to B; six channels take two columns."""
        nets = self.networks
        a, b = batch.a[:8], batch.b[:8]
        fake_b, fake_a = nets["g_atob"](a), nets["g_btoa"](b)
        columns: list[Tensor] = [*a.split(3, 1), fake_b, *nets["g_btoa"](fake_b).split(3, 1)]
        columns += [b, fake_a[:, :3], nets["g_atob"](fake_a)]
        rows = [picture for row in zip(*columns) for picture in row]
        return {"grid": grid([((picture + 1) / 2).clamp(0, 1) for picture in rows], columns=len(columns))}

    def epoch_end(self, report: EpochReport, run: Run) -> None:
        append_result(run.folder / "results.txt", report)
