"""The texture predictor as a stage of the engine."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likeness.engine import Context, OptimizerSpec, Stage, UpdateSpec, load_tensors, load_weights
from likeness.methods.neural_actor.vid2vid import losses
from likeness.methods.neural_actor.vid2vid.blocks import add_spectral_norm, initialise
from likeness.methods.neural_actor.vid2vid.clips import ClipBatch, Clips, mean_picture, read_pairs
from likeness.methods.neural_actor.vid2vid.config import TextureConfig
from likeness.methods.neural_actor.vid2vid.discriminator import TextureDiscriminator, triple
from likeness.methods.neural_actor.vid2vid.flow import FlowEstimator, ScriptedFlow, dis_flow
from likeness.methods.neural_actor.vid2vid.flow_network import warp
from likeness.methods.neural_actor.vid2vid.generator import Generated, TextureGenerator, set_mean_picture


class TextureStage(Stage[TextureConfig, ClipBatch]):
    """A clip a step; for each of its frames the discriminators learn first, then the generator."""

    def __init__(self, config: TextureConfig):
        super().__init__(config)
        generator = initialise(TextureGenerator(config.generator), config.initial_gain)
        initialise(generator.get_submodule("conv_img"))
        average = TextureGenerator(config.generator).requires_grad_(False)
        self.networks = {
            "generator": add_spectral_norm(generator) if config.spectral_norm else generator,
            "discriminator": add_spectral_norm(initialise(TextureDiscriminator(config.discriminator))),
            "average": average,
        }
        self.find_flow: FlowEstimator = dis_flow if config.flow_script is None else ScriptedFlow(config.flow_script)
        self.vgg: losses.Vgg19 | None = None
        if config.vgg19_weights is not None:
            self.vgg = losses.Vgg19()
            wanted = self.vgg.state_dict()
            weights = {key: value for key, value in load_tensors(config.vgg19_weights).items() if key in wanted}
            load_weights(self.vgg, weights, config.vgg19_weights)

    def initialise(self, ctx: Context) -> None:
        if self.config.generator.mean_picture:
            mean = mean_picture(read_pairs(self.config.data), self.config.generator.size)
            for name in ("generator", "average"):
                set_mean_picture(self.networks[name], mean)
        refresh_average(self.networks["generator"], self.networks["average"], 0.0)
        if self.vgg is None:
            print("no perceptual loss: --vgg19-weights PATH adds it")

    def optimizers(self) -> dict[str, OptimizerSpec]:
        rates = {"generator": self.config.lr_generator, "discriminator": self.config.lr_discriminator}
        return {name: self._adam(name, rate) for name, rate in rates.items()}

    def _adam(self, name: str, rate: float) -> OptimizerSpec:
        every = self.config.lr_halved_every
        return OptimizerSpec(
            factory=lambda parameters: torch.optim.Adam(parameters, lr=rate, betas=self.config.adam_betas),
            networks=(name,),
            schedule=lambda epochs: 0.5 ** (epochs // every),
            per="epoch",
        )

    def updates(self) -> dict[str, UpdateSpec]:
        config = self.config
        weights: dict[str, float] = {}
        for head in ["image", *(f"temporal{scale}" for scale in range(config.discriminator.temporal))]:
            weights |= {f"gan_{head}": config.gan_weight, f"features_{head}": config.feature_weight}
        weights |= {name: config.flow_weight for name in ("flow", "warp", "mask")}
        weights |= {"perceptual": config.perceptual_weight, "pixel": config.pixel_weight}
        return {
            "generator": UpdateSpec(("generator",), weights=weights),
            "discriminator": UpdateSpec(("discriminator",)),
        }

    def batches(self, split: str, rank: int, world: int) -> Clips | None:
        config = self.config
        if split != "train":
            return None
        return Clips(
            read_pairs(config.data),
            config.generator.size,
            batch_size=config.batch_size,
            first=config.clip_first,
            largest=config.clip_largest,
            largest_scale=config.largest_scale,
            seed=config.seed,
            rank=rank,
            world=world,
        )

    def step(self, batch: ClipBatch, ctx: Context) -> None:
        fakes: list[Tensor] = []
        for t in range(batch.labels.shape[1]):
            made = predict(self.networks["generator"], batch.labels, fakes)
            real = batch.images[:, : t + 1].unbind(1)
            hinges = {
                f"hinge_{head}": losses.hinge_loss(seen, false)
                for head, seen, false in self._judge(batch.labels[:, t], real, [*fakes, made.image.detach()])
            }
            if hinges:
                ctx.update("discriminator", hinges)
            ctx.update("generator", self.generator_terms(batch, t, fakes, made))
            fakes.append(made.image.detach())
        decay = self.config.average_decay if ctx.update_count >= self.config.average_from else 0.0
        refresh_average(self.networks["generator"], self.networks["average"], decay)

    def generator_terms(self, batch: ClipBatch, t: int, fakes: list[Tensor], made: Generated) -> dict[str, Tensor]:
        """Unweighted losses of frame t; `fakes` are the frames before it."""
        real, target = batch.images[:, : t + 1].unbind(1), batch.images[:, t]
        terms: dict[str, Tensor] = {}
        for head, seen, false in self._judge(batch.labels[:, t], real, [*fakes, made.image]):
            terms[f"gan_{head}"] = losses.adversarial_loss(false)
            terms[f"features_{head}"] = losses.feature_matching_loss(seen, false)
        if self.vgg is not None:
            terms["perceptual"] = losses.perceptual_loss(self.vgg.to(target.device), made.image, target)
        if self.config.pixel_weight > 0:
            terms["pixel"] = F.l1_loss(made.image, target)
        if made.flow is not None and made.mask is not None and made.warped is not None:
            truth = self.find_flow(target, real[-2])
            confidence = losses.flow_confidence(target, warp(real[-2], truth))
            terms["flow"] = losses.flow_loss(made.flow, truth, confidence)
            terms["warp"] = losses.warp_loss(made.warped, target)
            terms["mask"] = losses.mask_loss(made.mask, made.warped, target)
        return terms

    def _judge(
        self, label: Tensor, real: Sequence[Tensor], fake: Sequence[Tensor]
    ) -> Iterator[tuple[str, list[losses.Judged], list[losses.Judged]]]:
        """Each discriminator that has frames enough: its name, what it says of the real and of the false frame.

        None where nothing weighs what they say.
        """
        if self.config.gan_weight == self.config.feature_weight == 0:
            return
        network = self.networks["discriminator"]
        assert isinstance(network, TextureDiscriminator)
        yield "image", network.judge_image(label, real[-1]), network.judge_image(label, fake[-1])
        for scale in range(network.temporal):
            pair = [triple(frames, scale) for frames in (real, fake)]
            if pair[0] is not None and pair[1] is not None:
                yield f"temporal{scale}", network.judge_triple(scale, pair[0]), network.judge_triple(scale, pair[1])

    def visuals(self, batch: ClipBatch, ctx: Context) -> dict[str, Tensor]:
        fakes: list[Tensor] = []
        for _ in range(min(3, batch.labels.shape[1])):
            fakes.append(predict(self.networks["average"], batch.labels[:1], fakes).image)
        last = len(fakes) - 1
        row = torch.cat([batch.labels[0, last], fakes[-1][0], batch.images[0, last]], dim=-1)
        return {"label_predicted_and_true": ((row + 1) / 2).clamp(0, 1)}


def predict(generator: nn.Module, labels: Tensor, fakes: list[Tensor]) -> Generated:
    """The frame after `fakes`, of labels (B, T, 3, H, W)."""
    t = len(fakes)
    history = (labels[:, :t], torch.stack(fakes, dim=1)) if fakes else ()
    return generator(labels[:, t], *history)


@torch.no_grad()
def refresh_average(network: nn.Module, average: nn.Module, decay: float) -> None:
    """Move the parameters of `average` towards those of `network`, its spectral norms folded in; `decay` 0 copies.

    The engine's averages mix raw parameters; of a normalised convolution the published average mixes the weight in use.
    """
    for name, old in average.named_parameters():
        owner, _, leaf = name.rpartition(".")
        new = getattr(network.get_submodule(owner), leaf)
        old.lerp_(new, 1 - decay) if decay > 0 else old.copy_(new)
