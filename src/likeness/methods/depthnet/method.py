"""The stages `depth` (DepthNet, experiments 1 to 4) and `aign` (experiment 5): what happens in one training step."""

import shutil
from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim import Adam

from likeness.engine import Batches, Context, EpochReport, OptimizerSpec, Run, Stage, UpdateSpec
from likeness.files import atomic_path
from likeness.methods.depthnet import losses
from likeness.methods.depthnet.affine import apply_affine, fit_affine
from likeness.methods.depthnet.aign import AignGenerator, SpectralCritic, aign_critic_input, heat_maps
from likeness.methods.depthnet.config import AignConfig, DepthConfig, LandmarkConfig
from likeness.methods.depthnet.data import SPLITS, PairBatch, PairBatches, open_split, synthetic_split
from likeness.methods.depthnet.networks import Critic, FixedAffineGenerator, LearnedAffineGenerator, critic_input
from likeness.methods.depthnet.results import append_result, pair_strip


class _LandmarkStage(Stage):
    """What both stages share: data, optimisers and the files of an epoch."""

    config: LandmarkConfig

    def __init__(self, config: LandmarkConfig):
        super().__init__(config)
        if config.synthetic:
            self.archives = {split: synthetic_split(split, config.synthetic, config.seed) for split in SPLITS}
        else:
            self.archives = {split: open_split(config.data, split) for split in SPLITS}

    def optimizers(self, weight_decay: float = 0.0) -> dict[str, OptimizerSpec]:
        config = self.config
        betas = (config.beta1, config.beta2)

        def adam(parameters: Iterable[nn.Parameter]) -> Adam:
            return Adam(parameters, config.lr, betas, weight_decay=weight_decay, fused=True)  # half a step's time

        def falling(finished_epochs: int) -> float:
            return min(1.0, (config.epochs - finished_epochs) / (config.lr_decay_epochs + 1))

        schedule = falling if config.lr_decay_epochs else None
        return {
            name: OptimizerSpec(factory=adam, networks=(name,), schedule=schedule, per="epoch")
            for name in ("generator", "critic")
        }

    def batches(self, split: str, rank: int, world: int) -> Batches[PairBatch] | None:
        if split not in self.archives:
            return None
        config = self.config
        size = min(config.batch_size, len(self.archives[split]))
        return PairBatches(self.archives[split], size, seed=config.seed, rank=rank, world=world)

    def epoch_end(self, report: EpochReport, run: Run) -> None:
        append_result(run.folder / "results.txt", report)
        for phase, name in (("train", "train"), ("test", "valid")):
            strip = run.images(phase) / f"{report.epoch}_landmarks.png"
            if strip.is_file():
                with atomic_path(run.folder / "vis" / f"{name}_{report.epoch}.png") as temporary:
                    shutil.copyfile(strip, temporary)


class DepthStage(_LandmarkStage):
    """DepthNet with or without its critic."""

    config: DepthConfig

    def __init__(self, config: DepthConfig):
        super().__init__(config)
        self.networks = {
            "generator": LearnedAffineGenerator() if config.learn_m else FixedAffineGenerator(),
            "critic": SpectralCritic() if config.spectral else Critic(),
        }

    def optimizers(self, weight_decay: float = 0.0) -> dict[str, OptimizerSpec]:
        return super().optimizers(self.config.l2_decay)

    def updates(self) -> dict[str, UpdateSpec]:
        return {
            "generator": UpdateSpec(("generator",), weights={"l2": self.config.lamb}),
            "critic": UpdateSpec(("critic",)),
            "penalty": UpdateSpec(("critic",), weights={"dnorm_x": self.config.dnorm}),
        }

    def step(self, batch: PairBatch, ctx: Context) -> None:
        config = self.config
        generator, critic = self.networks["generator"], self.networks["critic"]
        depth, affine = generator(batch.source_xy, batch.target_xy)
        terms = {"l2": self.keypoint_loss(depth, affine, batch)}
        if not config.gan:
            ctx.update("generator", terms)
            return
        fake = critic_input(depth, batch.source_xy)
        if ctx.position % config.update_g_every == 0:
            terms["g_loss"] = losses.generator_score(critic(fake))
        ctx.update("generator", terms)
        real = critic_input(batch.source_depth, batch.source_xy)
        on_real, on_fake = critic(real).mean(), critic(fake.detach()).mean()
        ctx.update("critic", {"d_loss": on_fake - on_real})
        ctx.log("d_loss_real", on_real)
        ctx.log("d_loss_fake", on_fake)
        if config.dnorm > 0:
            ctx.update("penalty", {"dnorm_x": losses.gradient_penalty(critic, real)})

    def keypoint_loss(self, depth: Tensor, affine: Tensor | None, batch: PairBatch) -> Tensor:
        """The keypoint loss as configured."""
        config = self.config
        return losses.keypoint_loss(
            depth, affine, batch.source_xy, batch.target_xy, config.sigma, config.use_l1, config.detach
        )

    def measure(self, batch: PairBatch, ctx: Context) -> dict[str, Tensor]:
        depth, affine = self.networks["generator"](batch.source_xy, batch.target_xy)
        measures = {"l2": self.keypoint_loss(depth, affine, batch)}
        if self.config.gan:
            critic = self.networks["critic"]
            on_fake = critic(critic_input(depth, batch.source_xy)).mean()
            on_real = critic(critic_input(batch.source_depth, batch.source_xy)).mean()
            measures |= {"g_loss": -on_fake, "d_loss": on_fake - on_real}
            measures |= {"d_loss_real": on_real, "d_loss_fake": on_fake}
        return measures

    def visuals(self, batch: PairBatch, ctx: Context) -> dict[str, Tensor]:
        source, target = batch.source_xy[:1], batch.target_xy[:1]
        depth, affine = self.networks["generator"](source, target)
        if affine is None:
            affine = fit_affine(source, depth, target, self.config.sigma)
        predicted = apply_affine(affine, source, depth)
        faces = (source, depth, batch.source_depth[:1], target, batch.target_depth[:1], predicted)
        return {"landmarks": pair_strip(*(face[0].cpu().numpy() for face in faces))}


class AignStage(_LandmarkStage):
    """AIGN: a face's heat maps to a posed shape, held to its own landmarks and to the look of unpaired true shapes."""

    config: AignConfig

    def __init__(self, config: AignConfig):
        super().__init__(config)
        self.networks = {"generator": AignGenerator(), "critic": SpectralCritic() if config.spectral else Critic()}

    def updates(self) -> dict[str, UpdateSpec]:
        return {
            "generator": UpdateSpec(("generator",), weights={"l1": self.config.lamb}),
            "critic": UpdateSpec(("critic",)),
            "penalty": UpdateSpec(("critic",), weights={"dnorm_x": self.config.dnorm}),
        }

    def step(self, batch: PairBatch, ctx: Context) -> None:
        config, critic = self.config, self.networks["critic"]
        shape = self.networks["generator"](heat_maps(batch.source_xy, config.heatmaps))
        terms = {
            "g_loss": losses.adversarial(critic(shape.x3d), True, config.gan_mode),
            "l1": (shape.projection - batch.source_xy.transpose(1, 2)).abs().mean(),
        }
        if ctx.position % config.update_g_every == 0:
            ctx.update("generator", terms)
        else:
            for name, value in terms.items():
                ctx.log(name, value)
        real = aign_critic_input(batch.target_xy, batch.target_depth)
        on_real, on_fake = self.critic_terms(shape.x3d.detach(), real)
        ctx.update("critic", {"d_loss": on_real + on_fake})
        ctx.log("d_loss_real", on_real)
        ctx.log("d_loss_fake", on_fake)
        if config.dnorm > 0:
            ctx.update("penalty", {"dnorm_x": losses.gradient_penalty(critic, real)})

    def critic_terms(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's losses on real and on fake shapes (N, 3, 66)."""
        critic, mode = self.networks["critic"], self.config.gan_mode
        on_fake = losses.adversarial(critic(fake), False, mode)
        return losses.adversarial(critic(real), True, mode), on_fake

    def measure(self, batch: PairBatch, ctx: Context) -> dict[str, Tensor]:
        config, critic = self.config, self.networks["critic"]
        shape = self.networks["generator"](heat_maps(batch.source_xy, config.heatmaps))
        on_real, on_fake = self.critic_terms(shape.x3d, aign_critic_input(batch.target_xy, batch.target_depth))
        residual = shape.projection - batch.source_xy.transpose(1, 2)
        return {
            "g_loss": losses.adversarial(critic(shape.x3d), True, config.gan_mode),
            "l1": residual.abs().mean(),
            "l2": residual.square().mean(),
            "d_loss": on_real + on_fake,
        }

    def visuals(self, batch: PairBatch, ctx: Context) -> dict[str, Tensor]:
        source, target = batch.source_xy[:1], batch.target_xy[:1]
        shape = self.networks["generator"](heat_maps(source, self.config.heatmaps))
        depth = shape.x3d[:, 2]
        predicted = apply_affine(fit_affine(source, depth, target), source, depth)
        faces = (source, depth, batch.source_depth[:1], target, batch.target_depth[:1], predicted)
        return {"landmarks": pair_strip(*(face[0].cpu().numpy() for face in faces))}
