"""The two stages of the bi-layer avatars on the engine."""

import itertools
from collections.abc import Iterable
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from likeness.engine import (
    Batches,
    Context,
    EpochReport,
    OptimizerSpec,
    Run,
    Stage,
    UpdateSpec,
    evaluating,
    load_tensors,
)
from likeness.errors import UserError
from likeness.files import write_text
from likeness.methods.bilayer import losses
from likeness.methods.bilayer.config import BilayerConfig, EnhancerConfig
from likeness.methods.bilayer.data import ListedBatches, PairBatches, make_batches
from likeness.methods.bilayer.grid import picture_grid
from likeness.methods.bilayer.measures import Measure, make_measures
from likeness.methods.bilayer.model import (
    BaseOutput,
    EnhancedOutput,
    Pairs,
    forward_base,
    forward_enhancer,
    standing_statistics,
)
from likeness.methods.bilayer.networks import ALL, BASE, DISCRIMINATOR, ENHANCER, build_network
from likeness.methods.bilayer.networks.discriminator import Judgement
from likeness.methods.bilayer.networks.spectral_norm import EPS, settle_spectral_norm
from likeness.methods.bilayer.pairs import format_samples
from likeness.methods.bilayer.published import find_network_file, load_network_weights, run_folder
from likeness.nets.frozen import frozen


class BilayerStage(Stage[BilayerConfig, Pairs]):
    """What the two stages share: perceptual networks, initial weights, statistics, lists of frames."""

    trained: tuple[str, ...] = ()

    def __init__(self, config: BilayerConfig, names: Iterable[str]):
        super().__init__(config)
        dropouts = {"texture_generator": config.texture_dropout, "inference_generator": config.inference_dropout}
        self.networks = {
            name: build_network(
                name,
                config,
                dropout=dropouts.get(name, 0.0),
                spectral_norm=name in config.spn_networks,
                bn_momentum=config.bn_momentum,
            )
            for name in names
        }
        for network in self.networks.values():
            settle_spectral_norm(network)
        named = {"networks-to-train": set(config.networks_to_train), "lrs": set(config.lrs)}
        named["spn-networks"] = set(config.spn_networks) - set(ALL)
        for option, chosen in named.items():
            if unknown := chosen - set(self.networks):
                raise UserError(f"--{option}: no network {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        if config.networks_to_train:
            self.trained = tuple(name for name in self.trained if name in config.networks_to_train)
        self.features = perceptual_networks(config)
        if config.init_experiment_dir is not None:
            self.parents = (str(config.init_experiment_dir),)
            freeze(self.networks, config)

    def optimizers(self) -> dict[str, OptimizerSpec]:
        config = self.config

        def adam(name: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            rate = config.lrs.get(name, config.lr)
            return torch.optim.Adam(parameters, lr=rate, betas=(config.adam_beta1, 0.999), eps=EPS, fused=True)

        def falling(finished: int) -> float:
            return min(1.0, (config.epochs - finished) / (config.epochs * (1 - config.lr_decay_from)))

        schedule = falling if config.lr_decay_from < 1 else None
        return {
            name: OptimizerSpec(factory=partial(adam, name), networks=(name,), schedule=schedule, per="epoch")
            for name in self.trained
            if any(parameter.requires_grad for parameter in self.networks[name].parameters())
        }

    def updates(self) -> dict[str, UpdateSpec]:
        config = self.config
        names = list(self.optimizers())
        generators = tuple(name for name in names if name != DISCRIMINATOR)
        weights = {
            "G_ADV": config.adv_loss_weight,
            "G_FM": config.fem_loss_weight,
            "G_VGG19": config.per_vgg19_weight,
            "G_VGGFace": config.per_vggface_weight,
            "G_RANDOM": config.per_random_weight,
            "G_L1": config.pix_loss_weight,
            "G_L1_full": config.pix_full_loss_weight,
            "G_BCE": config.seg_loss_weight,
        }
        updates = {"generator": UpdateSpec(generators, weights)}
        if DISCRIMINATOR in names:
            updates["discriminator"] = UpdateSpec((DISCRIMINATOR,), {"D_ADV": config.adv_loss_weight})
        return updates

    def batches(self, split: str, rank: int, world: int) -> Batches[Pairs] | None:
        return make_batches(self.config, split, rank, world)

    def initialise(self, ctx: Context) -> None:
        config = self.config
        if config.init_experiment_dir is None:
            return
        folder = run_folder(config.init_experiment_dir)
        for name in config.init_networks or tuple(self.networks):
            if name not in self.networks:
                raise UserError(
                    f"--init-networks: this stage has no network {name!r}; it has {', '.join(self.networks)}"
                )
            path = find_network_file(folder, name, config.init_which_epoch)
            if path is None and not config.init_networks:
                continue
            if path is None:
                raise UserError(f"has no checkpoint {config.init_which_epoch!r} of {name}", path=folder)
            load_network_weights(self.networks[name], load_tensors(path), path)

    def adversarial(self, real: Tensor, fake: Tensor, stickmen: Tensor, ctx: Context) -> dict[str, dict[str, Tensor]]:
        """Both passes of the discriminator -> the adversarial terms of either update; none before its first epoch."""
        if ctx.epoch < self.config.adv_from_epoch:
            return {"generator": {}, "discriminator": {}}
        discriminator = self.networks[DISCRIMINATOR]
        kind = self.config.adv_pred_type
        first: Judgement = discriminator(real.detach(), fake.detach(), stickmen)
        with frozen(discriminator):
            second: Judgement = discriminator(real.detach(), fake, stickmen)
        real_scores = first.real_scores.detach()
        return {
            "discriminator": {
                "D_ADV": losses.adversarial_discriminator(first.real_scores, first.fake_scores, kind, ctx.all_mean)
            },
            "generator": {
                "G_ADV": losses.adversarial_generator(real_scores, second.fake_scores, kind, ctx.all_mean),
                "G_FM": losses.feature_matching(second.real_features, second.fake_features, self.config.fem_loss_type),
            },
        }

    def perceptual(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """One term for each perceptual network."""
        terms = {}
        for name, network in self.features.items():
            network.to(fake.device)
            with torch.no_grad():
                reference = network(real)
            terms[name] = losses.perceptual(network(fake), reference)
        return terms

    def finish(self, generator: dict[str, Tensor], discriminator: dict[str, Tensor], ctx: Context) -> None:
        """Step the generators first: the discriminator's own pass does not depend on them, but theirs on it."""
        ctx.update("generator", generator)
        if discriminator and "discriminator" in self.updates():
            ctx.update("discriminator", discriminator)

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """What validation measures; made when first asked for, since some bring large networks."""
        return make_measures(self.config.measures, self.config.arcface_weights, self.config.lpips_backbone)

    def measured(self, fake: Tensor, real: Tensor, poses: Tensor) -> dict[str, Tensor]:
        """Each measure's mean over pictures (F, 3, S, S) in [-1, 1] with poses (B, T, 136); NaN ones are left out."""
        fake, real = (((x + 1) / 2).clamp(0, 1).cpu() for x in (fake, real))
        points = ((poses.flatten(0, 1).cpu() + 1) / 2 * real.shape[-1]).unflatten(1, (68, 2)).numpy()
        frames = list(zip(fake, real, points, strict=True))
        means = {}
        for name, measure in self.measures.items():
            means[name] = torch.tensor([measure(*frame) for frame in frames]).nanmean().to(poses.device)
        return means

    def calculate_statistics(self, ctx: Context) -> None:
        """Standing statistics of the base networks over some training batches."""
        batches = self.batches("train", ctx.rank, ctx.world)
        if batches is None:
            return
        batches.set_epoch(ctx.epoch)
        count = min(self.config.stats_calc_iters, len(batches))
        placed = (ctx.place(batches[i]) for i in range(count))
        standing_statistics({name: self.networks[name] for name in BASE}, self.config, placed)

    def epoch_end(self, report: EpochReport, run: Run) -> None:
        if not self.config.save_dataset_filenames:
            return
        for split in ("train", "valid") if report.valid else ("train",):
            batches = self.batches(split, 0, 1)
            assert isinstance(batches, PairBatches | ListedBatches)
            batches.set_epoch(report.epoch)
            root = batches.videos.root if isinstance(batches, PairBatches) else batches.root
            path = run.folder / f"{'train' if split == 'train' else 'test'}_filenames.txt"
            old = (
                path.read_text(encoding="utf-8")
                if report.epoch > 1 and path.is_file()
                else f"data-root:{root.absolute()}\n"
            )
            write_text(path, old + format_samples(batches.epoch_samples()))


class BaseStage(BilayerStage):
    """All networks but the enhancer, trained together."""

    trained = (*BASE, DISCRIMINATOR)

    def __init__(self, config: BilayerConfig):
        self.calls = 0
        super().__init__(config, (*BASE, DISCRIMINATOR))

    def step(self, batch: Pairs, ctx: Context) -> None:
        config = self.config
        out = forward_base(self.networks, config, batch)
        frame, truth = out.target, out.target_imgs
        stickmen = batch.target_stickmen.flatten(0, 1)
        adversarial = self.adversarial(truth, frame.imgs, stickmen, ctx)
        self.calls += 1
        weight = losses.warping_weight(
            self.calls, config.wpr_loss_weight, config.wpr_loss_weight_decay, config.wpr_loss_decay_schedule
        )
        terms = {
            **adversarial["generator"],
            **self.perceptual(frame.imgs_lf_detached, truth),
            "G_L1": losses.pixelwise(frame.lf_rgbs, truth, config.pix_loss_type),
            "G_BCE": losses.segmentation(frame.segs_logits, batch.target_segs.flatten(0, 1), config.seg_loss_type),
        }
        if config.pix_full_loss_weight:
            terms["G_L1_full"] = losses.pixelwise(frame.imgs, truth, config.pix_loss_type)
        if weight > EPS:
            terms["G_WPR"] = weight * losses.warping_regularizer(frame.delta_uvs)
        self.finish(terms, adversarial["discriminator"], ctx)

    def measure(self, batch: Pairs, ctx: Context) -> dict[str, Tensor]:
        out = forward_base(self.networks, self.config, batch)
        return self.measured(out.target.imgs, out.target_imgs, batch.target_poses)

    def validate(self, ctx: Context) -> dict[str, float]:
        if self.config.calc_stats:
            self.calculate_statistics(ctx)
        return super().validate(ctx)

    def visuals(self, batch: Pairs, ctx: Context) -> dict[str, Tensor]:
        out: BaseOutput = forward_base(self.networks, self.config, batch)
        return {"grid": picture_grid(batch, out, None, self.config.num_visuals)}

    def state_dict(self) -> dict:
        return {"calls": self.calls}

    def load_state_dict(self, state: dict) -> None:
        self.calls = int(state["calls"])


class EnhancerStage(BilayerStage):
    """Texture enhancer and discriminator; the base networks stay as they are, in evaluation mode."""

    config: EnhancerConfig
    trained = (ENHANCER, DISCRIMINATOR)

    def __init__(self, config: EnhancerConfig):
        super().__init__(config, (*BASE, ENHANCER, DISCRIMINATOR))
        for name in BASE:
            self.networks[name].requires_grad_(False)
        if config.base_run is not None:
            self.parents = (*self.parents, str(config.base_run))

    def initialise(self, ctx: Context) -> None:
        if self.config.base_run is None and self.config.init_experiment_dir is None:
            raise UserError("the enhancer stage starts from a trained base: give --base-run RUN")
        if self.config.base_run is not None:
            for name in (*BASE, DISCRIMINATOR):
                path = find_network_file(run_folder(self.config.base_run), name, self.config.base_which_epoch)
                if path is None and name == DISCRIMINATOR:
                    continue
                if path is None:
                    raise UserError(f"has no checkpoint of {name}", path=self.config.base_run)
                load_network_weights(self.networks[name], load_tensors(path), path)
        super().initialise(ctx)

    def step(self, batch: Pairs, ctx: Context) -> None:
        with evaluating({name: self.networks[name] for name in BASE}):
            out = forward_enhancer(self.networks, self.config, batch)
        adversarial = self.adversarial(out.target_imgs, out.imgs, batch.target_stickmen.flatten(0, 1), ctx)
        terms = {**adversarial["generator"], **self.perceptual(out.imgs, out.target_imgs)}
        self.finish(terms, adversarial["discriminator"], ctx)

    def measure(self, batch: Pairs, ctx: Context) -> dict[str, Tensor]:
        out: EnhancedOutput = forward_enhancer(self.networks, self.config, batch)
        return self.measured(out.imgs, out.target_imgs, batch.target_poses)

    def visuals(self, batch: Pairs, ctx: Context) -> dict[str, Tensor]:
        out = forward_enhancer(self.networks, self.config, batch)
        return {"grid": picture_grid(batch, out.base, out, self.config.num_visuals)}


def perceptual_networks(config: BilayerConfig) -> dict[str, nn.Module]:
    """Term -> frozen feature network: the published ones where their weights are given, else fixed random filters."""
    networks: dict[str, nn.Module] = {}
    for term, path, depth in (("G_VGG19", config.vgg19_weights, 19), ("G_VGGFace", config.vggface_weights, 16)):
        if path is None:
            continue
        vgg = losses.VggFeatures(depth, face=term == "G_VGGFace", pooling=config.per_pooling)
        weights = load_tensors(path)
        wanted = {key: weights[key] for key in vgg.state_dict() if key in weights}
        if len(wanted) != len(vgg.state_dict()):
            raise UserError(f"expected VGG{depth} weights in torchvision's layout (features.N.weight)", path=path)
        vgg.load_state_dict(wanted)
        networks[term] = vgg
    if not networks and config.per_random_weight:
        networks["G_RANDOM"] = losses.RandomFeatures()
    for network in networks.values():
        network.requires_grad_(False).eval()
    return networks


def freeze(networks: dict[str, nn.Module], config: BilayerConfig) -> None:
    """Take the gradient from initialised networks that are to stay frozen, last layers excepted where asked for."""
    for name in config.frozen_networks:
        if name not in networks:
            raise UserError(f"--frozen-networks: no network {name!r}; there are {', '.join(networks)}")
        if config.init_networks and name not in config.init_networks:
            continue
        networks[name].requires_grad_(False)
        unfreeze = {
            "texture_generator": ("gen_tex", "prj_tex", config.unfreeze_texture_generator_last_layers),
            "inference_generator": ("gen_inf", "prj_inf", config.unfreeze_inference_generator_last_layers),
        }.get(name)
        if unfreeze is None or not unfreeze[2]:
            continue
        generator = networks[name].get_submodule(unfreeze[0])
        last = [networks[name].get_submodule(unfreeze[1]), generator.get_submodule("heads")]
        blocks = generator.get_submodule("blocks")
        assert isinstance(blocks, nn.ModuleList)
        for module in itertools.chain(last, blocks[6:]):
            module.requires_grad_(True)
