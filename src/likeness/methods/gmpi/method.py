"""The stage `gmpi`: what happens in one training step.

Source: Zhao et al., ECCV 2022, section 3.4 and its published settings.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim import Adam

from likeness.engine import AverageSpec, Batches, Context, OptimizerSpec, Stage, UpdateSpec, sample
from likeness.media.image import grid
from likeness.methods.gmpi import losses
from likeness.methods.gmpi.config import GMPIConfig
from likeness.methods.gmpi.data import PortraitBatch, first_pictures, portrait_batches
from likeness.methods.gmpi.initialise import start_from
from likeness.methods.gmpi.lighting import ramp, sample_shading
from likeness.methods.gmpi.networks import MPI, MPIGenerator
from likeness.methods.gmpi.scene import pose_vector
from likeness.metrics.fid import frechet_distance
from likeness.metrics.inception import features, load_inception
from likeness.nets.frozen import frozen
from likeness.nets.stylegan2 import Noise, random_noise
from likeness.nets.stylegan2_discriminator import Discriminator
from likeness.render.multiplane import render

SNAPSHOTS = 25
BYTES_BATCH = 16
CHOSEN_PIXELS = 1024
"""Samples times side of the picture whose views are compared in one pass: 4, 2, 1 samples at 256, 512, 1024."""
TILT = {"FFHQ": 0.5, "MetFaces": 0.5, "AFHQCat": 0.3}


def build_generator(config: GMPIConfig) -> MPIGenerator:
    """The generator that `config` describes."""
    return MPIGenerator(
        config.resolution,
        variant=config.variant,
        planes=config.planes,
        z_dim=config.z_dim,
        w_dim=config.w_dim,
        channel_base=config.channel_base,
        channel_max=config.channel_max,
        mapping_layers=config.mapping_layers,
        largest_alpha=config.largest_alpha,
        full_background=config.full_background,
        activation=config.activation,
        depth_range=config.depth_range,
        depth_bins=config.depth_bins,
        frequencies=config.frequencies,
    )


def build_discriminator(config: GMPIConfig) -> Discriminator:
    """The discriminator that `config` describes."""
    return Discriminator(
        config.resolution,
        channel_base=config.channel_base,
        channel_max=config.channel_max,
        condition_dim=config.pose_dim,
        embedding_dim=config.embedding_dim,
        group=config.deviation_group,
    )


@dataclass(frozen=True)
class Draw:
    """Everything of a step that a batch split must cut: the real pictures and the step's random numbers."""

    image: Tensor = sample()
    """(N, 3, R, R) real, in [-1, 1]."""
    pose: Tensor = sample()
    """(N, 16)."""
    z_fake: Tensor = sample()
    """(N, z_dim) of the discriminator's fakes."""
    fake_angles: Tensor = sample()
    """(N, 2) yaw, pitch of the discriminator's fakes."""
    z: Tensor = sample()
    """(N, z_dim) of the generator's update."""
    angles: Tensor = sample()
    """(N, V, 2) candidate yaw, pitch of the generator's update."""


def _bytes(pictures: Tensor) -> Iterator[Tensor]:
    for part in pictures.split(BYTES_BATCH):
        yield (part * 255).round().to(torch.uint8)


class GMPIStage(Stage[GMPIConfig, PortraitBatch]):
    """Discriminator step, choice of the worst view, generator step."""

    def __init__(self, config: GMPIConfig):
        super().__init__(config)
        self.scene = config.scene
        self.planes = self._planes()
        self.networks = {"generator": build_generator(config), "discriminator": build_discriminator(config)}
        self.parents = () if config.pretrained is None else (str(config.pretrained),)
        self.shadings = 0

    def _planes(self) -> Tensor:
        return replace(self.scene, confined=self.config.confined).planes(self.config.planes, self.config.spacing)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        lr = self.config.lr
        return {
            name: OptimizerSpec(factory=lambda p: Adam(p, lr, (0.0, 0.9), fused=True), networks=(name,))
            for name in ("generator", "discriminator")
        }

    def updates(self) -> dict[str, UpdateSpec]:
        clip = self.config.clip
        return {
            "discriminator": UpdateSpec(("discriminator",), {"r1": self.config.r1 / 2}, clip),
            "generator": UpdateSpec(("generator",), {}, clip),
        }

    def averages(self) -> dict[str, AverageSpec]:
        return {
            "ema": AverageSpec("generator", losses.ema_decay(0.999), after="generator", buffers="copy"),
            "ema2": AverageSpec("generator", losses.ema_decay(0.9999), after="generator", buffers="copy"),
        }

    def batches(self, split: str, rank: int, world: int) -> Batches[PortraitBatch] | None:
        if split != "train":
            return None
        c = self.config
        return portrait_batches(
            c.open(), self.scene, c.resolution, batch_size=c.batch_size, seed=c.seed, mirror=False, rank=rank,
            world=world,
        )  # fmt: skip

    def initialise(self, ctx: Context) -> None:
        if self.config.pretrained is None:
            return
        left = start_from(self.config.pretrained, self.networks["generator"], self.networks["discriminator"])
        if ctx.rank == 0:
            print(f"started from {self.config.pretrained}; {len(left)} entries of the alpha and pose branches are new")

    def state_dict(self) -> dict[str, int]:
        return {"shadings": self.shadings}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.shadings = int(state["shadings"])

    def draw(self, batch: PortraitBatch) -> Draw:
        """The step's random numbers, in the published order: z and poses of the fakes, then of the generator."""
        n, c = len(batch.image), self.config
        device = batch.image.device
        z_fake = torch.randn(n, c.z_dim).to(device)
        fake_angles = torch.stack(self.scene.sample_poses(n), dim=-1)
        z = torch.randn(n, c.z_dim).to(device)
        angles = torch.stack(self.scene.sample_poses(n * c.views), dim=-1).unflatten(0, (n, c.views))
        return Draw(batch.image, batch.pose, z_fake, fake_angles, z, angles)

    def step(self, batch: PortraitBatch, ctx: Context) -> None:
        discriminator = self.networks["discriminator"]
        assert isinstance(discriminator, Discriminator)
        draw = self.draw(batch)
        shaded = self.config.shading and ctx.update_count > self.config.shading_start
        for part in ctx.splits(draw):
            with torch.no_grad():
                mpi = self.generate(part.z_fake)
                fake, pose = self.show(self.shade(mpi) if shaded else mpi, part.fake_angles)
            real, penalty = losses.real_loss_and_penalty(discriminator, part.image, self.condition(part.pose))
            fake_loss = losses.fake_loss(discriminator(fake, pose))
            ctx.backward("discriminator", {"real": real, "fake": fake_loss, "r1": penalty})
        ctx.apply("discriminator")
        for part in ctx.splits(draw):
            angles = self.choose(part)  # (N, K, 2)
            mpi = self.generate(part.z)
            if shaded:
                mpi = self.shade(mpi)
            image, pose = self.show(mpi, angles.flatten(0, 1), angles.shape[1])
            with frozen(discriminator):
                scores = discriminator(image, pose)
            ctx.backward("generator", {"generator": losses.real_loss(scores)})
        ctx.apply("generator")

    def generate(self, z: Tensor, network: str = "generator") -> MPI:
        """Multiplane images of z with the training's noise, from torch's global generator."""
        noise: Noise = random_noise() if self.config.noise == "random" else self.config.noise
        depths = self.scene.normalised(self.planes[:, 0]).to(z.device)
        return self.networks[network](z, depths, noise=noise)

    def show(self, mpi: MPI, angles: Tensor, views: int = 1) -> tuple[Tensor, Tensor]:
        """Pictures (N * views, 3, R, R) in [-1, 1] at angles (N * views, 2), and their poses for the critic."""
        cameras = self.scene.cameras(angles[:, 0].cpu(), angles[:, 1].cpu(), self.config.resolution)
        source = torch.arange(len(mpi.alpha)).repeat_interleave(views)
        rendering = render(
            mpi.colours, mpi.alpha, self.planes, cameras, source=source, align_corners=self.config.align_corners
        )
        return rendering.image * 2 - 1, pose_vector(cameras, self.config.pose_dim).to(mpi.alpha.device)

    def condition(self, pose: Tensor) -> Tensor:
        """What the discriminator sees of real poses (N, 16)."""
        if self.config.pose_dim == 9:
            return pose.unflatten(1, (4, 4))[:, :3, :3].flatten(1)
        return pose[:, : self.config.pose_dim]

    def shade(self, mpi: MPI) -> MPI:
        """The multiplane images under random lights, and one shading more on the counter."""
        c = self.config
        strength = max(c.ramp_from, ramp(self.shadings, c.shading_ramp))
        self.shadings += 1
        return sample_shading(mpi, self.planes.to(mpi.alpha.device), self.scene, strength, c.ambient, c.diffuse)

    @torch.no_grad()
    def choose(self, part: Draw) -> Tensor:
        """(N, K, 2) yaw, pitch that the generator is trained on: each sample's worst view, or all of them."""
        if self.config.view_choice == "none":
            return part.angles
        chosen = []
        together = max(1, CHOSEN_PIXELS // self.config.resolution)
        for z, angles in zip(part.z.split(together), part.angles.split(together)):
            image, pose = self.show(self.generate(z), angles.flatten(0, 1), self.config.views)
            worst = losses.worst_view(self.networks["discriminator"](image, pose).view(len(z), -1))
            chosen.append(angles[torch.arange(len(z)), worst.cpu()].unsqueeze(1))
        return torch.cat(chosen)

    def validate(self, ctx: Context) -> dict[str, float]:
        """FID of the average against real pictures; also a line `<step>:<value>` of the run's fid.txt."""
        if self.config.inception is None or ctx.rank > 0:
            return {}
        network, c = load_inception(self.config.inception), self.config
        average, depths = ctx.average("ema"), self.scene.normalised(self.planes[:, 0]).to(ctx.device)

        def fakes() -> Iterator[Tensor]:
            generator = torch.Generator().manual_seed(c.seed)
            for _ in range(c.fid_pictures):
                z = torch.randn(1, c.z_dim, generator=generator).to(ctx.device)
                angles = torch.stack(self.scene.sample_poses(1, generator), dim=-1)
                shown, _ = self.show(average(z, depths, noise=random_noise(generator)), angles)
                yield ((shown.cpu() + 1) * 127.5).clamp(0, 255).to(torch.uint8)

        real = first_pictures(c.open(), c.resolution, c.fid_real, c.seed)
        with torch.no_grad():
            one, two = (features(network, pictures, "pytorch-fid") for pictures in (fakes(), _bytes(real)))
        fid = frechet_distance(one, two)
        with open(c.experiment_dir / "runs" / c.experiment_name / "fid.txt", "a", encoding="utf-8") as log:
            log.write(f"\n{ctx.update_count}:{fid}")
        return {"fid": fid}

    def visuals(self, batch: PortraitBatch, ctx: Context) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.config.seed)
        z = torch.randn(SNAPSHOTS, self.config.z_dim, generator=generator).to(ctx.device)
        random = torch.randn(1, self.config.z_dim).to(ctx.device)
        networks = {"": self.networks["generator"], "_ema": ctx.average("ema")}
        depths = self.scene.normalised(self.planes[:, 0]).to(ctx.device)
        tilt = min(TILT[self.config.dataset], self.scene.truncation * self.scene.yaw_std)
        pictures = {}
        for suffix, network in networks.items():
            for name, yaw in (("fixed", 0.0), ("tilted", tilt)):
                shown = [self.show(network(one, depths), torch.tensor([[yaw, 0.0]]))[0] for one in z.split(1)]
                pictures[name + suffix] = grid((torch.cat(shown).cpu() + 1) / 2, 5)
        mpi = self.networks["generator"](random, depths)
        pictures["random"] = (self.show(mpi, torch.zeros(1, 2))[0][0].cpu() + 1) / 2
        pictures["random_mpi_alpha"] = grid(mpi.alpha[0, :, None].expand(-1, 3, -1, -1).cpu(), 8)
        pictures["random_mpi_rgb"] = grid(mpi.colours[0].cpu(), 8)
        return pictures
