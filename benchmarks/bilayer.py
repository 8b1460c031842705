"""Bi-layer avatars at 256 px: a driven frame, the identity stage, the enhancer; a training step at 64 px."""

import contextlib
import copy
import resource
import unittest.mock
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.spectral_norm import SpectralNorm

from benchmarks import Row, best_time
from likeness.engine import Context, Updates
from likeness.engine.averages import Averages
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.config import BilayerConfig
from likeness.methods.bilayer.losses import VggFeatures
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.model import Pairs, forward_base
from likeness.methods.bilayer.networks import (
    BASE,
    ENHANCER,
    NetworkOptions,
    adaptive,
    build_network,
    convolution,
    spectral_norm,
)
from likeness.methods.bilayer.networks.adaptive import Predicted
from likeness.methods.bilayer.networks.convolution import Convolution
from likeness.methods.bilayer.networks.inference_generator import InferenceGenerator, compose
from likeness.methods.bilayer.networks.projector import Projector
from likeness.methods.bilayer.networks.spectral_norm import fold_spectral_norm
from likeness.nets.memory import keep_freed_memory


def _pairs(size: int, count: int) -> Pairs:
    generator = torch.Generator().manual_seed(0)

    def frames(channels: int) -> torch.Tensor:
        return torch.rand(count, 1, channels, size, size, generator=generator)

    poses = torch.rand(count, 1, 136, generator=generator) * 2 - 1
    return Pairs(frames(3), poses, frames(3), frames(1), frames(3), poses, frames(3), frames(1))


def main() -> list[Row]:
    """Measure; baselines are the same networks run as they are trained, by plain layers, in the same run."""
    torch.manual_seed(0)
    keep_freed_memory()  # as the engine does
    step, grown = _training_step()  # before anything else makes the process larger
    options = NetworkOptions()
    networks = {name: build_network(name, options).eval() for name in (*BASE, ENHANCER)}
    batch = _pairs(256, 1)
    image, mask = batch.source_imgs[0, 0].numpy(), batch.source_segs[0, 0].numpy()
    keypoints = np.random.default_rng(0).uniform(60, 200, (68, 2)).astype(np.float32)
    pose = batch.target_poses[0, 0].numpy()
    with _plain_layers():
        plain_networks = {name: copy.deepcopy(network) for name, network in networks.items()}
        for network in plain_networks.values():
            fold_spectral_norm(network)
        with torch.no_grad():
            out = forward_base(plain_networks, options, batch, predict_source=True)
            plain = best_time(_frame(plain_networks, batch, out.texture), 5)
            plain_identity = best_time(lambda: _identity(plain_networks, batch), 2)
            sources = batch.source_imgs.flatten(0, 1)
            plain_enhanced = best_time(lambda: plain_networks[ENHANCER](out.texture, out.source, sources), 1, 0)
        plain_step, _ = _training_step()
    avatar = Avatar(networks, options)
    with torch.no_grad():
        enhanced = best_time(lambda: avatar.networks[ENHANCER](out.texture, out.source, sources), 2)
    avatar = Avatar({name: networks[name] for name in BASE}, options)
    identify = best_time(lambda: avatar.identify([image], [keypoints], [mask]), 3)
    identity = avatar.identify([image], [keypoints], [mask])
    driven = best_time(lambda: identity.drive(pose), 15, 3)
    layers, released = "plain torch layers", "the released code on an idle machine of this kind"
    memory = f"<= 1.7 s, <= 2.1 GiB (took {grown:.1f})"
    return [
        Row("driven frame, 256 px, identity cached", driven, layers, plain, "<= 0.055 s"),
        Row("driven frame, 256 px, identity cached", driven, released, 0.109),
        Row("identity stage, 256 px", identify, layers, plain_identity, "<= 0.8 s"),
        Row("identity stage, 256 px", identify, released, 1.66),
        Row("enhancer, 256 px", enhanced, layers, plain_enhanced, "<= 1.8 s"),
        Row("enhancer, 256 px", enhanced, released, 3.2),
        Row("training step, 64 px, batch 2, all losses", step, f"{layers}, torch's spectral norm", plain_step, memory),
        Row("training step, 64 px, batch 2, all losses", step, released, 3.3),
    ]


@contextlib.contextmanager
def _plain_layers() -> Iterator[None]:
    """Resampling apart from its convolution, projections layer by layer, norms apart from their scales."""

    def resized(self: Convolution, x: torch.Tensor) -> torch.Tensor:
        if self.resize == "nearest":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        norms = [hook for hook in self._forward_pre_hooks.values() if isinstance(hook, SpectralNorm)]
        weight = SpectralNorm.compute_weight(norms[0], self, self.training) if norms else self.weight
        x = F.conv2d(x, weight, self.bias, padding=1)
        return F.avg_pool2d(x, 2) if self.resize == "avgpool" else x

    def project(self: Projector, embeddings: Sequence[torch.Tensor]) -> list[Predicted]:
        groups = []
        for embedding, stacks, size, rows in zip(embeddings, self.fc_blocks, self.sizes, self.rows, strict=True):
            pooled = F.adaptive_avg_pool2d(embedding, size).reshape(embedding.shape[0], rows, -1)
            for kind, stack in zip(self.kinds, stacks, strict=True):  # type: ignore[arg-type]
                made = stack(pooled)
                weight = made[..., 0] + 1 if kind == "norm" else made[..., :-1, None, None]
                groups.append(Predicted(weight, made[..., -1]))
        return groups

    with contextlib.ExitStack() as stack:
        for place, name, plain in (
            (Convolution, "forward", resized),
            (Projector, "forward", project),
            (adaptive, "standing", lambda norm: None),
            (convolution, "laid_out", lambda x: x),
            (spectral_norm._Hook, "compute_weight", SpectralNorm.compute_weight),
        ):
            stack.enter_context(unittest.mock.patch.object(place, name, plain))
        yield


def _identity(networks: dict[str, torch.nn.Module], batch: Pairs) -> None:
    embeds = networks["identity_embedder"](batch.source_imgs, batch.source_stickmen, batch.source_segs)
    networks["texture_generator"](embeds)
    networks["inference_generator"].project(embeds)  # type: ignore[operator]


def _frame(networks: dict[str, torch.nn.Module], batch: Pairs, texture: torch.Tensor) -> Callable[[], object]:
    """A frame by the unfolded networks; texture and parameters are ready."""
    generator = networks["inference_generator"]
    assert isinstance(generator, InferenceGenerator)
    predicted = generator.project([torch.zeros(1, c, 8, 8) for c in (512, 512, 512, 256, 128, 64)])

    def frame() -> object:
        layers = generator(networks["keypoints_embedder"](batch.target_poses[0]), predicted)
        return compose(layers, texture, generator.identity_grid, apply_masks=False)

    return frame


def _training_step() -> tuple[float, float]:
    """Seconds of a step, and GiB by which the process's greatest size grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stage = BaseStage(BilayerConfig(image_size=64, enh_bottleneck_tensor_size=32))
    stage.features = {
        "G_VGG19": VggFeatures(19).requires_grad_(False),
        "G_VGGFace": VggFeatures(16, face=True).requires_grad_(False),
    }
    updates = Updates(stage.networks, stage.optimizers(), stage.updates())
    averages = Averages(stage.networks, {})
    ctx = Context(updates, averages, seed=0, splits=1, device=torch.device("cpu"), rank=0, world=1)
    batch = _pairs(64, 2)

    def step() -> None:
        ctx.begin(1, 0, batch)
        stage.step(batch, ctx)
        ctx.finish()

    seconds = best_time(step, 3)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
