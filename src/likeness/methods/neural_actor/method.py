"""The neural renderer as a stage of the engine."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from likeness.engine import Context, OptimizerSpec, Stage, UpdateSpec, load_tensors
from likeness.errors import UserError
from likeness.formats.actor import read_body
from likeness.methods.neural_actor import rays
from likeness.methods.neural_actor.avatar import View
from likeness.methods.neural_actor.config import RendererConfig, parse_views
from likeness.methods.neural_actor.data import ActorBatch, ActorFolder, TrainingFrames, ValidationFrames
from likeness.methods.neural_actor.losses import alpha_loss, color_loss, learning_rate_factor
from likeness.methods.neural_actor.networks.actor import ActorNetwork, PosedBody
from likeness.methods.neural_actor.pictures import depth_picture, mesh_picture, normal_picture
from likeness.methods.neural_actor.renderer import (
    Noise,
    RayBounds,
    RenderConfig,
    Rendered,
    bound_rays,
    exact_search,
    render,
)
from likeness.methods.neural_actor.texture_maps import FeatureMaps
from likeness.methods.neural_actor.viewpoints import Viewpoint
from likeness.metrics.psnr import psnr
from likeness.metrics.ssim import ssim


class RendererStage(Stage[RendererConfig, ActorBatch]):
    """One frame, its views, `pixel_per_view` rays each; one Adam over everything."""

    best = ("loss", "min")

    def __init__(self, config: RendererConfig):
        super().__init__(config)
        self.folder = ActorFolder(config.data, config.view_resolution, config.network.background)
        self.valid_folder = ActorFolder(
            config.data, config.valid_view_resolution or config.view_resolution, config.network.background
        )
        self.networks = {
            "renderer": ActorNetwork(read_body(config.data, config.new_tpose, config.body), config.network)
        }

    @property
    def renderer(self) -> ActorNetwork:
        """The one network."""
        network = self.networks["renderer"]
        assert isinstance(network, ActorNetwork)
        return network

    def optimizers(self) -> dict[str, OptimizerSpec]:
        config = self.config
        return {
            "renderer": OptimizerSpec(
                factory=lambda parameters: torch.optim.Adam(parameters, lr=config.lr, betas=config.adam_betas),
                networks=("renderer",),
                schedule=lambda n: learning_rate_factor(
                    n, config.warmup_updates, config.decay_steps, config.decay_rate
                ),
            )
        }

    def updates(self) -> dict[str, UpdateSpec]:
        config = self.config
        weights = {"color": config.color_weight, "coarse": config.color_weight, "alpha": config.alpha_weight}
        # An infinite limit changes no gradient but has its norm logged.
        return {"renderer": UpdateSpec(("renderer",), weights=weights, clip_norm=config.clip_norm or math.inf)}

    def frames(self, every: int) -> list[int]:
        """Frames of the configured range, every so many."""
        start, end = self.config.start_end or (0, len(self.folder.frames))
        chosen = list(range(start, min(end, len(self.folder.frames)), max(every, 1)))
        if not chosen:
            raise UserError(
                f"frames {start}..{end} hold none of the {len(self.folder.frames)} there are", path=self.config.data
            )
        return chosen

    def batches(self, split: str, rank: int, world: int) -> TrainingFrames | ValidationFrames:
        config = self.config
        if split == "train":
            return TrainingFrames(
                self.folder,
                self.frames(config.subsample_train),
                parse_views(config.train_views, "train_views"),
                steps=config.virtual_epoch_steps,
                views_per_batch=config.batch_size,
                seed=config.seed,
                rank=rank,
                world=world,
            )
        views = parse_views(config.valid_views, "valid_views")
        return ValidationFrames(self.valid_folder, self.frames(config.subsample_valid), views, rank, world)

    def initialise(self, ctx: Context) -> None:
        encoder = self.renderer.encoder.texture_encoder
        path = self.config.texture_encoder_weights
        if encoder is None:
            return
        if path is None:
            print("the texture encoder starts at random: --texture-encoder-weights PATH starts it from ImageNet")
            return
        weights = {key: value for key, value in load_tensors(path).items() if not key.startswith("fc.")}
        try:
            encoder.model.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"does not fit the texture encoder: {error}", path=path) from error

    def step(self, batch: ActorBatch, ctx: Context) -> None:
        network, config = self.renderer, self.config
        body = network.pose_body(batch.pose)
        texture_map = network.encoder.texture_map(batch.texture)
        colors, coarse, targets, plain, missed = [], [], [], [], []
        for index in range(len(batch.view)):
            origin, directions = batch.origins[index], batch.directions[index]
            bounds = bound_rays(body, origin, directions, config.render.min_dis_eps)
            if not bounds.hit.any():
                ctx.reject("no ray of the view meets the body")
                return
            generator = ctx.generator(f"rays{index}")
            uniform = torch.rand(len(directions), generator=generator, device=ctx.device)
            wanted = bounds.hit
            if config.sampling_at_reader:
                wanted = (batch.target[index] != network.field.background).any(-1)
            height, width = batch.size.tolist()
            chosen = rays.choose_pixels(wanted, config.pixel_per_view, uniform, (height, width), config.pixel_sampling)
            seen = self.render_pixels(body, texture_map, origin, directions[chosen], bounds.at(chosen), generator)
            target, color = batch.target[index, chosen], seen.color
            if config.random_background:
                shape = (len(chosen), 3)
                drawn = 2 * torch.rand(shape, generator=ctx.generator(f"background{index}"), device=ctx.device) - 1
                change = drawn - network.field.background
                color = color + seen.missed.unsqueeze(-1) * change
                target = target + (1 - batch.alpha[index, chosen]).unsqueeze(-1) * change
            colors.append(color)
            missed.append(seen.missed)
            if seen.coarse_color is not None:
                coarse.append(seen.coarse_color)
            targets.append(target)
            plain.append(batch.target[index, chosen])
        terms = {"color": color_loss(torch.cat(colors), torch.cat(targets), config.l1)}
        if coarse and config.hierarchical_loss:
            terms["coarse"] = color_loss(torch.cat(coarse), torch.cat(plain), config.l1)
        if config.alpha_weight > 0:
            terms["alpha"] = alpha_loss(torch.cat(missed))
        ctx.log("loss", sum(self.updates()["renderer"].weights[name] * term.detach() for name, term in terms.items()))
        ctx.update("renderer", terms)

    def render_pixels(
        self,
        body: PosedBody,
        texture_map: FeatureMaps,
        origin: Tensor,
        directions: Tensor,
        bounds: RayBounds,
        generator: torch.Generator | None = None,
    ) -> Rendered:
        """Render rays (N, 3); with a generator depths are jittered and densities perturbed, as in training."""
        config = self.config.render
        noise = Noise()
        if generator is not None:
            noise = draw_noise(len(directions), config, generator)
        search = exact_search(self.renderer, body)
        return render(self.renderer, body, texture_map, origin, directions, bounds, config, search, noise)

    def view(self, batch: ActorBatch, body: PosedBody) -> View:
        """What the batch's first camera sees of the actor, all pixels."""
        origin, directions = batch.origins[0], batch.directions[0]
        texture_map = self.renderer.encoder.texture_map(batch.texture)
        bounds = bound_rays(body, origin, directions, self.config.render.min_dis_eps)
        seen = self.render_pixels(body, texture_map, origin, directions, bounds)
        height, width = batch.size.tolist()
        return View((height, width), origin, directions, seen, int(bounds.hit.sum()))

    def picture(self, batch: ActorBatch) -> tuple[Tensor, Tensor]:
        """Rendered and true picture (3, H, W) in [0, 1] of the batch's first view."""
        return _pair(self.view(batch, self.renderer.pose_body(batch.pose)), batch)

    def measure(self, batch: ActorBatch, ctx: Context) -> dict[str, Tensor]:
        ours, truth = self.picture(batch)
        loss = color_loss((2 * ours - 1).flatten(1).T, (2 * truth - 1).flatten(1).T, self.config.l1)
        pair = ours.unsqueeze(0), truth.unsqueeze(0)
        return {"loss": loss * self.config.color_weight, "psnr": psnr(*pair)[0].float(), "ssim": ssim(*pair)[0].float()}

    def visuals(self, batch: ActorBatch, ctx: Context) -> dict[str, Tensor]:
        body = self.renderer.pose_body(batch.pose)
        view = self.view(batch, body)
        viewpoint = Viewpoint(self.folder.cameras[int(batch.view[0])], view.size)
        return {
            "rendered_and_true": torch.cat(_pair(view, batch), dim=-1),
            "depth": depth_picture(view),
            "normal": normal_picture(view, viewpoint),
            "voxel": mesh_picture(self.renderer, body, view, batch.texture[0]),
        }


def _pair(view: View, batch: ActorBatch) -> tuple[Tensor, Tensor]:
    shape = (*view.size, 3)
    ours, truth = (
        ((color.view(shape) + 1) / 2).clamp(0, 1).permute(2, 0, 1) for color in (view.seen.color, batch.target[0])
    )
    return ours, truth


def draw_noise(rays: int, config: RenderConfig, generator: torch.Generator) -> Noise:
    """Jitter of depths and densities of a training step, in the order: depths, densities, the second field's."""
    device, samples = generator.device, config.fixed_num_samples + 1
    depth = torch.rand((rays, config.fixed_num_samples), generator=generator, device=device)
    density = torch.randn(rays, samples, generator=generator, device=device)
    noise = Noise(depth, density)
    if config.fine_samples:
        fine_depth = torch.rand((rays, config.fine_samples), generator=generator, device=device)
        fine_density = torch.randn(rays, samples + config.fine_samples, generator=generator, device=device)
        noise = Noise(depth, density, fine_depth, fine_density)
    return noise if config.discrete_regularization else replace(noise, density=None, fine_density=None)
