"""Bi-layer avatars at 256 px: a driven frame, the identity stage, the enhancer; a training step at 64 px."""

import numpy as np
import torch

from benchmarks import Row, best_time
from likeness.engine import Context, Updates
from likeness.engine.averages import Averages
from likeness.methods.bilayer.avatar import Avatar
from likeness.methods.bilayer.config import BilayerConfig
from likeness.methods.bilayer.losses import VggFeatures
from likeness.methods.bilayer.method import BaseStage
from likeness.methods.bilayer.model import Pairs, forward_base, forward_enhancer
from likeness.methods.bilayer.networks import BASE, ENHANCER, NetworkOptions, build_network


def _pairs(size: int, count: int) -> Pairs:
    generator = torch.Generator().manual_seed(0)

    def frames(channels: int) -> torch.Tensor:
        return torch.rand(count, 1, channels, size, size, generator=generator)

    poses = torch.rand(count, 1, 136, generator=generator) * 2 - 1
    return Pairs(frames(3), poses, frames(3), frames(1), frames(3), poses, frames(3), frames(1))


def main() -> list[Row]:
    """Measure; baselines are the same networks run as they are trained, and times of the released code."""
    torch.manual_seed(0)
    options = NetworkOptions()
    networks = {name: build_network(name, options).eval() for name in (*BASE, ENHANCER)}
    batch = _pairs(256, 1)
    with torch.no_grad():
        whole = best_time(lambda: forward_base(networks, options, batch), 2)
        plain = best_time(lambda: _frame(networks, batch), 5)
        enhanced = best_time(lambda: forward_enhancer(networks, options, batch), 1, 0)
    avatar = Avatar({name: networks[name] for name in BASE}, options)
    image, mask = batch.source_imgs[0, 0].numpy(), batch.source_segs[0, 0].numpy()
    keypoints = np.random.default_rng(0).uniform(60, 200, (68, 2)).astype(np.float32)
    identify = best_time(lambda: avatar.identify([image], [keypoints], [mask]), 2)
    identity = avatar.identify([image], [keypoints], [mask])
    pose = batch.target_poses[0, 0].numpy()
    driven = best_time(lambda: identity.drive(pose), 10, 2)
    step = _training_step()
    released = "the released code on an idle machine of this kind"
    return [
        Row("driven frame, 256 px, identity cached", driven, "the unfolded networks", plain, "<= 0.055 s"),
        Row("driven frame, 256 px, identity cached", driven, "everything for each frame", whole),
        Row("driven frame, 256 px, identity cached", driven, released, 0.109),
        Row("identity stage, 256 px", identify, released, 1.66, "<= 0.8 s"),
        Row("enhancer with both base passes, 256 px", enhanced, f"{released} (enhancer alone)", 3.2, "<= 1.8 s alone"),
        Row("training step, 64 px, batch 2, all losses", step, released, 3.3, "<= 1.7 s"),
    ]


def _frame(networks: dict[str, torch.nn.Module], batch: Pairs) -> None:
    generator = networks["inference_generator"]
    embeds = [torch.zeros(1, c, 8, 8) for c in (512, 512, 512, 256, 128, 64)]
    generator(networks["keypoints_embedder"](batch.target_poses[0]), generator.project(embeds))  # type: ignore[operator]


def _training_step() -> float:
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

    return best_time(step, 3)
