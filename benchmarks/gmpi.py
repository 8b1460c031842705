"""GMPI: generator, compositor, discriminator and set-up at FFHQ256, a step at 64; one thread, against plain torch."""

import math
import resource
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import Row, best_time
from likeness.engine.averages import Averages
from likeness.engine.updates import Updates
from likeness.methods.gmpi.config import GMPIConfig
from likeness.methods.gmpi.data import PortraitBatch
from likeness.methods.gmpi.method import GMPIStage
from likeness.methods.gmpi.networks import MPI, MPIGenerator
from likeness.methods.gmpi.scene import FFHQ, pose_vector
from likeness.nets.stylegan2_discriminator import Discriminator, EqualisedConv
from likeness.render.multiplane import render

PLANES, SIDE = 32, 256


def main() -> list[Row]:
    """Measure; the compositor's baseline is one `grid_sample` a plane, the generator's carries 4 P channels."""
    torch.set_num_threads(1)
    torch.manual_seed(0)  # how soon an untrained sample is opaque depends on its weights
    planes = FFHQ.planes(PLANES)
    depths = FFHQ.normalised(planes[:, 0])
    cameras = FFHQ.cameras(torch.tensor([0.2]), torch.tensor([0.1]), SIDE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    generator = MPIGenerator(SIDE, channel_base=16384).eval()
    z = torch.randn(1, 512)
    critic = Discriminator(SIDE, channel_base=16384, condition_dim=16, group=1)
    picture, pose = torch.randn(1, 3, SIDE, SIDE), torch.randn(1, 16)
    with torch.no_grad():
        mpi = generator(z, depths)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = f"network and pass took {(peak - before) / 2**20:.2f}"
        # A trained sample is empty in front of its surface and opaque from there on; here it is a bowl.
        x = torch.linspace(-1, 1, SIDE)
        surface = (x.square() + x[:, None].square()).clamp(max=1) * (PLANES - 2)  # (R, R) index of a plane
        solid = (torch.arange(PLANES)[:, None, None] - surface).clamp(0, 1)[None]
        solid_dense = torch.cat([mpi.dense()[:, :, :3], solid.unsqueeze(2)], dim=2)
        return [
            Row("generator, 256, 32 planes", best_time(lambda: generator(z, depths), 3),
                "4 P channels, one torgb and toalpha a plane", best_time(lambda: wide(generator, z, depths), 1),
                f"<= 0.3 s, <= 0.6 GiB ({memory})"),
            Row("compositor, 256, 32 planes", best_time(lambda: render(mpi.colours, mpi.alpha, planes, cameras)),
                "grid_sample a plane", best_time(lambda: plain_render(mpi.dense(), planes, cameras), 3), "<= 0.03 s"),
            Row("compositor, the same, a solid surface",
                best_time(lambda: render(mpi.colours, solid, planes, cameras)),
                "grid_sample a plane", best_time(lambda: plain_render(solid_dense, planes, cameras), 3), "<= 0.03 s"),
            Row("discriminator, 256", best_time(lambda: critic(picture, pose), 3),
                "channels first, gains and clamps apart", best_time(lambda: plain_critic(critic, picture, pose), 2),
                "<= 0.2 s"),
            Row("training step, 64, 8 planes, batch 2", best_time(StepBench(GMPIStage).step, 4, warm_up=4),
                "4 P channels, grid_sample a plane", best_time(StepBench(PlainStage).step, 2, warm_up=2), "<= 0.6 s"),
            Row("renderer set-up", best_time(lambda: FFHQ.planes(PLANES)),
                "all 10 001 poses", best_time(lambda: every_pose(planes), 1), "<= 0.02 s"),
        ]  # fmt: skip


def plain_render(dense: Tensor, planes: Tensor, cameras, side: int = SIDE) -> Tensor:
    """(N, 3, H, W) by one texture lookup a plane; one camera a multiplane image."""
    axis = torch.arange(side) + 0.5
    pixels = torch.stack([axis.expand(side, side), axis[:, None].expand(side, side), torch.ones(side, side)], dim=-1)
    rays = (pixels @ torch.linalg.inv(cameras.intrinsics).mT) @ cameras.rotation[:, None]  # (N, H, W, 3)
    eye = cameras.position[:, None, None]
    through, image = torch.ones(len(dense), 1, side, side), torch.zeros(len(dense), 3, side, side)
    for plane, (z, height, width) in enumerate(planes.tolist()):
        hit = eye + ((z - eye[..., 2:]) / rays[..., 2:]) * rays
        uv = torch.stack([hit[..., 0] * 2 / width, hit[..., 1] * 2 / height], dim=-1)
        seen = F.grid_sample(dense[:, plane], uv, align_corners=True)
        image = image + through * seen[:, 3:] * seen[:, :3]
        through = through * (1 - seen[:, 3:] + 1e-10)
    return image


def wide(generator: MPIGenerator, z: Tensor, depths: Tensor) -> Tensor:
    """(N, 4 P, R, R): the same textures with colour repeated a plane at every level, as published."""
    ws = generator.mapping(z).unsqueeze(1).repeat(1, generator.synthesis.num_ws, 1)
    total = None
    for block, x, styles in generator.synthesis.walk(ws, "const", None):
        colour = block.torgb(x, styles[2]).repeat(1, len(depths), 1, 1)
        normal = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-8)
        embedded = block.pos_enc_embed(depths, styles[1]).unbind(1)
        alpha = torch.cat([block.toalpha(normal + e[:, :, None, None], styles[2]) for e in embedded], dim=1)
        y = torch.cat([colour, alpha], dim=1)
        if total is not None:
            kernel = block.resample_filter.mul(4).expand(total.shape[1], 1, 4, 4)
            spread = total.new_zeros(len(z), total.shape[1], *(2 * side for side in total.shape[2:]))
            spread[..., ::2, ::2] = total
            y = y + F.conv2d(F.pad(spread, (2, 1, 2, 1)), kernel, groups=total.shape[1])
        total = y
    return total.tanh()


def plain_critic(critic: Discriminator, picture: Tensor, pose: Tensor) -> Tensor:
    """The discriminator's score by torch's own operators on channels-first tensors, one after the other."""

    def layer(conv: EqualisedConv, x: Tensor, gain: float = 1.0) -> Tensor:
        weight = (conv.weight * conv.weight_gain).contiguous()
        kernel = conv.resample_filter.expand(x.shape[1], 1, 4, 4)
        if conv.down == 2:
            one = weight.shape[-1] == 1
            x = F.conv2d(x, kernel, padding=1 if one else 2, stride=2 if one else 1, groups=x.shape[1])
            x = F.conv2d(x, weight, stride=1 if one else 2)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if conv.bias is None:
            return x * gain
        x = F.leaky_relu(x + conv.bias[:, None, None], 0.2) * (gain * math.sqrt(2))
        return x if conv.clamp is None else x.clamp(-conv.clamp * gain, conv.clamp * gain)

    x, half = picture, math.sqrt(0.5)
    for level, r in enumerate(critic.resolutions):
        block = critic.get_submodule(f"b{r}")
        x = layer(block.fromrgb, x) if level == 0 else x
        x = layer(block.conv1, layer(block.conv0, x), half) + layer(block.skip, x, half)
    scores = critic.b4(x)
    embedding = critic.mapping(pose)
    return (scores * embedding / embedding.square().mean(1, keepdim=True).sqrt()).sum(1) / 4


class PlainStage(GMPIStage):
    """The stage with 4 P channels in the generator and one texture lookup a plane."""

    def generate(self, z: Tensor, network: str = "generator") -> MPI:
        depths = self.scene.normalised(self.planes[:, 0])
        planes = wide(self.networks[network], z, depths)  # type: ignore[arg-type]
        colours, alpha = planes.split([3 * len(depths), len(depths)], dim=1)
        alpha = torch.cat([alpha[:, :-1], torch.ones_like(alpha[:, :1])], dim=1)
        return MPI((colours[:, :3] + 1) / 2, (colours[:, -3:] + 1) / 2, (alpha + 1) / 2)

    def show(self, mpi: MPI, angles: Tensor, views: int = 1) -> tuple[Tensor, Tensor]:
        cameras = self.scene.cameras(angles[:, 0], angles[:, 1], self.config.resolution)
        dense = mpi.dense().repeat_interleave(views, dim=0)
        image = plain_render(dense, self.planes, cameras, self.config.resolution)
        return image * 2 - 1, pose_vector(cameras, self.config.pose_dim)


class StepBench:
    """All phases of a step, shading, optimisers and averages included, without data and files."""

    update_count = 5

    def __init__(self, kind: type[GMPIStage]):
        config = GMPIConfig(resolution=64, channel_base=8192, channel_max=128, planes=8, batch_size=2, shading_start=-1)
        self.stage = kind(config)
        self.updates = Updates(self.stage.networks, self.stage.optimizers(), self.stage.updates())
        self.averages = Averages(self.stage.networks, self.stage.averages())
        self.batch = PortraitBatch(torch.rand(2, 3, 64, 64) * 2 - 1, torch.eye(4).flatten().repeat(2, 1))

    def step(self) -> None:
        with torch.enable_grad():
            self.stage.step(self.batch, self)  # type: ignore[arg-type]

    def splits(self, draw) -> Iterator:
        yield draw

    def backward(self, name: str, terms: Mapping[str, Tensor]) -> None:
        self.updates.backward(name, terms)

    def apply(self, name: str) -> None:
        self.updates.apply(name, self.update_count, 0)
        self.averages.refresh(name)


def every_pose(planes: torch.Tensor) -> float:
    """The back plane's reach over 100 x 100 poses."""
    steps = torch.linspace(-2, 2, 100)
    yaw, pitch = (a.flatten() for a in torch.meshgrid(steps * FFHQ.yaw_std, steps * FFHQ.pitch_std, indexing="ij"))
    reach = 0.0
    corners = torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    for one, two in zip(yaw.split(1), pitch.split(1)):
        camera = FFHQ.cameras(one, two, 1)
        rays = corners @ torch.linalg.inv(camera.intrinsics).mT @ camera.rotation[0]
        eye = camera.position[0]
        hits = eye + (planes[-1, 0] - eye[2]) / rays[:, 2:] * rays
        reach = max(reach, float(hits[:, :2].abs().max()))
    return reach


if __name__ == "__main__":
    for row in main():
        print(row.line())
