"""GMPI: generator, compositor and set-up at FFHQ256, one thread, against plain torch."""

import torch
import torch.nn.functional as F

from benchmarks import Row, best_time
from likeness.methods.gmpi.networks import MPIGenerator
from likeness.methods.gmpi.scene import FFHQ
from likeness.render.multiplane import render

PLANES, SIDE = 32, 256


def main() -> list[Row]:
    """Measure; the compositor's baseline is one `grid_sample` a plane, the generator's carries 4 P channels."""
    torch.set_num_threads(1)
    torch.manual_seed(0)  # how soon an untrained sample is opaque depends on its weights
    planes = FFHQ.planes(PLANES)
    depths = FFHQ.normalised(planes[:, 0])
    cameras = FFHQ.cameras(torch.tensor([0.2]), torch.tensor([0.1]), SIDE)
    generator = MPIGenerator(SIDE, channel_base=16384).eval()
    z = torch.randn(1, 512)
    with torch.no_grad():
        mpi = generator(z, depths)
        # A trained sample is empty in front of its surface and opaque from there on; here it is a bowl.
        x = torch.linspace(-1, 1, SIDE)
        surface = (x.square() + x[:, None].square()).clamp(max=1) * (PLANES - 2)  # (R, R) index of a plane
        solid = (torch.arange(PLANES)[:, None, None] - surface).clamp(0, 1)[None]
        solid_dense = torch.cat([mpi.dense()[:, :, :3], solid.unsqueeze(2)], dim=2)
        return [
            Row("generator, 256, 32 planes", best_time(lambda: generator(z, depths), 3),
                "4 P channels, one torgb and toalpha a plane", best_time(lambda: wide(generator, z, depths), 1),
                "<= 0.3 s"),
            Row("compositor, 256, 32 planes", best_time(lambda: render(mpi.colours, mpi.alpha, planes, cameras)),
                "grid_sample a plane", best_time(lambda: plain_render(mpi.dense(), planes, cameras), 3), "<= 0.03 s"),
            Row("compositor, the same, a solid surface",
                best_time(lambda: render(mpi.colours, solid, planes, cameras)),
                "grid_sample a plane", best_time(lambda: plain_render(solid_dense, planes, cameras), 3), "<= 0.03 s"),
            Row("renderer set-up", best_time(lambda: FFHQ.planes(PLANES)),
                "all 10 001 poses", best_time(lambda: every_pose(planes), 1), "<= 0.02 s"),
        ]  # fmt: skip


def plain_render(dense: torch.Tensor, planes: torch.Tensor, cameras) -> torch.Tensor:
    """(1, 3, H, W) by one texture lookup a plane."""
    axis = torch.arange(SIDE) + 0.5
    pixels = torch.stack([axis.expand(SIDE, SIDE), axis[:, None].expand(SIDE, SIDE), torch.ones(SIDE, SIDE)], dim=-1)
    rays = pixels @ torch.linalg.inv(cameras.intrinsics).mT @ cameras.rotation[0]
    eye, through, image = cameras.position[0], torch.ones(1, 1, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    for plane, (z, height, width) in enumerate(planes.tolist()):
        hit = eye + ((z - eye[2]) / rays[..., 2:]) * rays
        uv = torch.stack([hit[..., 0] * 2 / width, hit[..., 1] * 2 / height], dim=-1)
        seen = F.grid_sample(dense[:, plane], uv[None], align_corners=True)
        image = image + through * seen[:, 3:] * seen[:, :3]
        through = through * (1 - seen[:, 3:] + 1e-10)
    return image


def wide(generator: MPIGenerator, z: torch.Tensor, depths: torch.Tensor) -> torch.Tensor:
    """(1, 4 P, R, R): the same textures with colour repeated a plane at every level, as published."""
    ws = generator.mapping(z).unsqueeze(1).repeat(1, generator.synthesis.num_ws, 1)
    total = None
    for block, x, styles in generator.synthesis.walk(ws, "const", None):
        colour = block.torgb(x, styles[2]).repeat(1, len(depths), 1, 1)
        normal = (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-8)
        embedded = block.pos_enc_embed(depths, styles[1])[0]
        alpha = torch.cat([block.toalpha(normal + e[None, :, None, None], styles[2]) for e in embedded], dim=1)
        y = torch.cat([colour, alpha], dim=1)
        if total is not None:
            kernel = block.resample_filter.mul(4).expand(total.shape[1], 1, 4, 4)
            spread = total.new_zeros(1, total.shape[1], *(2 * side for side in total.shape[2:]))
            spread[..., ::2, ::2] = total
            y = y + F.conv2d(F.pad(spread, (2, 1, 2, 1)), kernel, groups=total.shape[1])
        total = y
    return total.tanh()


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
