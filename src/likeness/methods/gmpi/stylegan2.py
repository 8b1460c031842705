"""The stage `stylegan2`: the 2-D GAN that GMPI starts from, trained by the public recipe.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
"""

import torch
from torch import Tensor, nn
from torch.optim import Adam

from likeness.engine import AverageSpec, Batches, Context, OptimizerSpec, Stage, UpdateSpec
from likeness.media.image import grid
from likeness.methods.gmpi import losses
from likeness.methods.gmpi.config import StyleGAN2Config
from likeness.methods.gmpi.data import PortraitBatch, portrait_batches
from likeness.nets.frozen import frozen
from likeness.nets.stylegan2 import Generator, random_noise
from likeness.nets.stylegan2_discriminator import Discriminator

SNAPSHOTS = 16


def build_flat_generator(config: StyleGAN2Config) -> Generator:
    """The 2-D generator that `config` describes."""
    return Generator(
        config.resolution,
        z_dim=config.z_dim,
        w_dim=config.w_dim,
        channel_base=config.channel_base,
        channel_max=config.channel_max,
        mapping_layers=config.mapping_layers,
    )


class StyleGAN2Stage(Stage[StyleGAN2Config, PortraitBatch]):
    """Logistic losses every step; R1 and path length on their own steps, weighted by how rarely they come."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__(config)
        self.networks: dict[str, nn.Module] = {
            "generator": build_flat_generator(config),
            "discriminator": Discriminator(
                config.resolution,
                channel_base=config.channel_base,
                channel_max=config.channel_max,
                group=config.deviation_group,
            ),
        }
        self.path_mean = 0.0

    @property
    def generator(self) -> Generator:
        """The 2-D generator, by its type."""
        network = self.networks["generator"]
        assert isinstance(network, Generator)
        return network

    @property
    def gamma(self) -> float:
        """Weight of R1."""
        c = self.config
        return c.r1_gamma if c.r1_gamma is not None else 0.0002 * c.resolution**2 / c.batch_size

    def optimizers(self) -> dict[str, OptimizerSpec]:
        # A regulariser's own steps would otherwise speed Adam up by (every + 1) / every.
        def adam(name: str, every: int) -> OptimizerSpec:
            share = every / (every + 1)
            lr, beta = self.config.lr * share, 0.99**share
            return OptimizerSpec(factory=lambda p: Adam(p, lr, (0.0, beta), eps=1e-8, fused=True), networks=(name,))

        c = self.config
        return {"generator": adam("generator", c.path_every), "discriminator": adam("discriminator", c.r1_every)}

    def updates(self) -> dict[str, UpdateSpec]:
        c = self.config
        return {
            "generator": UpdateSpec(("generator",)),
            "path": UpdateSpec(("generator",), {"path": c.path_weight * c.path_every}),
            "discriminator": UpdateSpec(("discriminator",)),
            "r1": UpdateSpec(("discriminator",), {"r1": self.gamma / 2 * c.r1_every}),
        }

    def averages(self) -> dict[str, AverageSpec]:
        # Half of the average is forgotten every batch * 10 / 32 thousand pictures, whatever the batch.
        decay = 0.5 ** (32 / 10_000)
        return {"ema": AverageSpec("generator", lambda k: decay, after="step", buffers="copy")}

    def batches(self, split: str, rank: int, world: int) -> Batches[PortraitBatch] | None:
        if split != "train":
            return None
        c = self.config
        return portrait_batches(
            c.open(), c.scene, c.resolution, batch_size=c.batch_size, seed=c.seed, mirror=c.mirror, rank=rank,
            world=world,
        )  # fmt: skip

    def state_dict(self) -> dict[str, float]:
        return {"path_mean": self.path_mean}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.path_mean = float(state["path_mean"])

    def styles(self, count: int, device: torch.device) -> Tensor:
        """(count, num_ws, w_dim) styles; with probability `mixing` the finer ones come from a second z."""
        generator = self.generator
        num_ws = generator.synthesis.num_ws
        w = generator.mapping(torch.randn(count, self.config.z_dim, device=device))
        other = generator.mapping(torch.randn(count, self.config.z_dim, device=device))
        cut = torch.randint(1, num_ws, (count, 1), device=device)
        mixed = torch.rand(count, 1, device=device) < self.config.mixing
        from_other = (torch.arange(num_ws, device=device) >= cut) & mixed  # (N, num_ws)
        return torch.where(from_other[..., None], other[:, None], w[:, None])

    def fake(self, count: int, device: torch.device) -> Tensor:
        """(count, 3, R, R) pictures."""
        return self.generator.synthesis(self.styles(count, device), random_noise())

    def step(self, batch: PortraitBatch, ctx: Context) -> None:
        discriminator = self.networks["discriminator"]
        c, n = self.config, len(batch.image)
        with frozen(discriminator):
            scores = discriminator(self.fake(n, ctx.device))
        ctx.update("generator", {"generator": losses.real_loss(scores)})
        if ctx.update_count % c.path_every == 0:
            ctx.update("path", {"path": self.path_penalty(max(n // 2, 1), ctx)})
        with torch.no_grad():
            fake = self.fake(n, ctx.device)
        ctx.update(
            "discriminator",
            {"real": losses.real_loss(discriminator(batch.image)), "fake": losses.fake_loss(discriminator(fake))},
        )
        if ctx.update_count % c.r1_every == 0:
            real = batch.image.detach().requires_grad_()
            ctx.update("r1", {"r1": losses.r1_penalty(discriminator(real), real)})

    def path_penalty(self, count: int, ctx: Context) -> Tensor:
        """Mean squared deviation of path lengths from their running mean, which moves on."""
        ws = self.styles(count, ctx.device)
        image = self.generator.synthesis(ws, random_noise())
        lengths = losses.path_lengths(image, ws, torch.randn_like(image))
        mean = float(ctx.mean(lengths.detach().mean()))
        self.path_mean += self.config.path_decay * (mean - self.path_mean)
        return (lengths - self.path_mean).square().mean()

    def visuals(self, batch: PortraitBatch, ctx: Context) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.config.seed)
        z = torch.randn(SNAPSHOTS, self.config.z_dim, generator=generator).to(ctx.device)
        shown = {"fixed": self.networks["generator"](z), "fixed_ema": ctx.average("ema")(z)}
        return {name: grid((image.clamp(-1, 1).cpu() + 1) / 2, 4) for name, image in shown.items()}
