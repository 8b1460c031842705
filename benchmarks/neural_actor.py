"""The neural renderer at its published sizes: training step, evaluation, texture trunk, each beside plain torch.

The plain renderer enlarges and joins the trunk's maps, samples them by `grid_sample`, evaluates every sample at once
and with a graph, and searches the nearest face exactly by the same tree.
"""

import resource

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import Row, best_time
from likeness.geometry.body import BodyModel, Pose
from likeness.methods.neural_actor.losses import color_loss
from likeness.methods.neural_actor.networks.actor import ActorNetwork, NetworkConfig, PosedBody
from likeness.methods.neural_actor.rays import camera_rays, choose_pixels, pixel_grid
from likeness.methods.neural_actor.renderer import (
    Noise,
    RayBounds,
    RenderConfig,
    bound_rays,
    compositing_weights,
    exact_search,
    render,
)
from likeness.methods.neural_actor.sampling import interval_samples

RAYS, SAMPLES, TEXTURE, SIDE = 256, 65, 512, 64


def main() -> list[Row]:
    """Measure the published step in float32 and bfloat16, with a fine mesh, evaluation, and the trunk."""
    small, fine = Setting(rings=50, sides=15), Setting(rings=123, sides=56)
    half = Setting(rings=50, sides=15, solid=0.0)
    plain_step = best_time(lambda: small.plain_step(), repeats=2)
    step = best_time(lambda: small.step(), repeats=3)
    rows = [
        Row(
            f"training step, {small.size}, every sample dense", step, "plain renderer, the same", plain_step, "<= 2.8 s"
        ),
        Row(
            f"the same, {half.dead():.0%} of the samples without density",
            best_time(lambda: half.step(), repeats=3),
            "plain renderer, the same",
            best_time(lambda: half.plain_step(), repeats=2),
            "<= 2.4 s",
        ),
        Row(
            "the first, samples far from the body left out (a deviation)",
            best_time(lambda: small.step(near_body_only=True), repeats=3),
            "with them",
            step,
        ),
        Row(
            f"the first, {fine.size}",
            best_time(lambda: fine.step(), repeats=3),
            "the first",
            step,
            "<= 1.15 times",
        ),
        Row(
            "the first under bfloat16 autocast",
            best_time(lambda: small.step(bf16=True), repeats=1),
            "float32",
            step,
            f"<= 1.3 s where the processor has bfloat16 ({native_bf16()} here)",
        ),
        Row(
            f"picture of {SIDE} x {SIDE}, {small.hits} rays hit",
            best_time(lambda: small.picture(), repeats=2),
            "plain renderer",
            best_time(lambda: small.plain_picture(), repeats=1, warm_up=0),
            "<= 2.8 s",
        ),
        Row(
            "texture trunk, forward and backward",
            best_time(lambda: small.trunk(), repeats=3),
            "channels first, maps enlarged and joined",
            best_time(lambda: small.plain_trunk(), repeats=3),
            "<= 0.74 s",
        ),
    ]
    return rows


def native_bf16() -> str:
    """Whether the processor multiplies bfloat16 by itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return "yes" if any("bf16" in line for line in lines if line.startswith("flags")) else "no"
    except OSError:
        return "unknown"


class Setting:
    """An upright closed body of `rings` x `sides` vertices and two poles, before a camera that sees it whole."""

    def __init__(self, rings: int, sides: int, solid: float = 12.0):
        torch.manual_seed(0)
        vertices, faces = capsule(rings, sides)
        self.size = f"{len(vertices)} vertices, {len(faces)} faces"
        uv = torch.rand(len(faces), 3, 2) * 0.02 + torch.rand(len(faces), 1, 2) * 0.97
        weights = torch.softmax(-20 * (vertices[:, 1:2] - torch.linspace(0, 1.7, 24)).square(), dim=-1)
        model = BodyModel(vertices, faces, uv, weights, torch.eye(4).expand(24, 4, 4))
        self.network = ActorNetwork(model, NetworkConfig())
        nn.init.constant_(self.network.field.predictor.output_layer.bias, solid)
        bones = torch.eye(4).repeat(24, 1, 1)
        joints = torch.stack([torch.zeros(24), torch.linspace(0.05, 1.65, 24), torch.zeros(24)], dim=-1)
        self.pose = Pose(bones, torch.eye(3), torch.zeros(3), joints)
        self.texture = torch.rand(1, 3, TEXTURE, TEXTURE)
        camera = torch.tensor([[1.0, 0, 0, 0], [0, -1.0, 0, 0.85], [0, 0, -1.0, 2.6], [0, 0, 0, 1.0]])
        intrinsics = torch.tensor([[95.0, 0, 32], [0, 95.0, 32], [0, 0, 1]])
        self.origin, self.directions = camera_rays(intrinsics, camera, pixel_grid(SIDE, SIDE, (SIDE, SIDE)))
        self.hits = int(self.bounds(self.body()).hit.sum())
        self.slopes: list[Tensor] = []
        self.plain_slopes: Tensor | None = None

    def body(self) -> PosedBody:
        """Posed anew, as every step does."""
        return self.network.pose_body(self.pose)

    def bounds(self, body: PosedBody) -> RayBounds:
        """Of all rays."""
        return bound_rays(body, self.origin, self.directions, 0.06)

    def drawn(self, body: PosedBody) -> tuple[Tensor, RayBounds, Noise]:
        """Directions, bounds and noise of a step's rays."""
        generator = torch.Generator().manual_seed(0)
        bounds = self.bounds(body)
        uniform = torch.rand(len(self.directions), generator=generator)
        chosen = choose_pixels(bounds.hit, RAYS, uniform, (SIDE, SIDE))
        depth = torch.rand(RAYS, SAMPLES - 1, generator=generator)
        density = torch.randn(RAYS, SAMPLES, generator=generator)
        return self.directions[chosen], bounds.at(chosen), Noise(depth, density)

    def step(self, bf16: bool = False, near_body_only: bool = False) -> None:
        """Forward, loss and backward of a training step."""
        network = self.network.train()
        config = RenderConfig(chunk_size=256, near_body_only=near_body_only)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            body = self.body()
            texture_map = network.encoder.texture_map(self.texture)
            directions, bounds, noise = self.drawn(body)
            search = exact_search(network, body)
            seen = render(network, body, texture_map, self.origin, directions, bounds, config, search, noise)
        color_loss(seen.color, torch.zeros(RAYS, 3)).backward()
        network.zero_grad(set_to_none=True)

    def plain_step(self) -> None:
        """The same, plainly."""
        network = self.network.train()
        body = self.body()
        features = self.plain_features()
        directions, bounds, noise = self.drawn(body)
        color = self.plain_render(body, features, directions, bounds, noise)
        color_loss(color, torch.zeros(RAYS, 3)).backward()
        network.zero_grad(set_to_none=True)

    @torch.no_grad()
    def dead(self) -> float:
        """Share of the samples of a step without density."""
        network = self.network.train()
        body = self.body()
        directions, bounds, noise = self.drawn(body)
        depths, _ = interval_samples(bounds.near, bounds.far, SAMPLES - 1, noise.depth)
        points = (self.origin + depths.unsqueeze(-1) * directions.unsqueeze(1)).flatten(0, 1)
        located = network.locate(body, points, exact_search(network, body)(points))
        sigma, _ = network.field.density(network.embed(body, located, network.encoder.texture_map(self.texture)))
        assert noise.density is not None
        return float((sigma + noise.density.flatten() <= 0).float().mean())

    @torch.no_grad()
    def picture(self) -> None:
        """Render all pixels."""
        network = self.network.eval()
        body = self.body()
        texture_map = network.encoder.texture_map(self.texture)
        search, bounds = exact_search(network, body), self.bounds(body)
        render(network, body, texture_map, self.origin, self.directions, bounds, RenderConfig(), search)

    @torch.no_grad()
    def plain_picture(self) -> None:
        """The same, plainly."""
        self.network.eval()
        body = self.body()
        bounds = self.bounds(body)
        chosen = bounds.hit.nonzero()[:, 0]
        self.plain_render(body, self.plain_features(), self.directions[chosen], bounds.at(chosen), Noise())

    def trunk(self) -> None:
        """Features of the texture and their gradient."""
        levels = self.network.train().encoder.texture_map(self.texture).levels
        self.slopes = self.slopes or [torch.ones_like(level) for level in levels]
        torch.autograd.backward(levels, self.slopes)
        self.network.zero_grad(set_to_none=True)

    def plain_trunk(self) -> None:
        """The same, plainly."""
        self.network.train()
        features = self.plain_features()
        self.plain_slopes = torch.ones_like(features) if self.plain_slopes is None else self.plain_slopes
        features.backward(self.plain_slopes)
        self.network.zero_grad(set_to_none=True)

    def plain_features(self) -> Tensor:
        """(1, C, H, W) the trunk's maps enlarged, joined and turned upside down."""
        encoder = self.network.encoder.texture_encoder
        assert encoder is not None
        model = encoder.model
        maps = [F.relu(model.bn1(model.conv1(self.texture)))]
        hidden = F.max_pool2d(maps[0], 3, 2, 1)
        for level in range(1, encoder.levels):
            hidden = model.get_submodule(f"layer{level}")(hidden)
            maps.append(hidden)
        size = maps[0].shape[-2:]
        return torch.cat([F.interpolate(each, size, mode="bilinear", align_corners=True) for each in maps], 1).flip(-2)

    def plain_render(
        self, body: PosedBody, features: Tensor, directions: Tensor, bounds: RayBounds, noise: Noise
    ) -> Tensor:
        """(N, 3) colours of hit rays: one graph over all samples."""
        network = self.network
        depths, lengths = interval_samples(bounds.near, bounds.far, SAMPLES - 1, noise.depth)
        points = (self.origin + depths.unsqueeze(-1) * directions.unsqueeze(1)).flatten(0, 1)
        located = network.locate(body, points, exact_search(network, body)(points))
        encoder = network.encoder
        texture = F.grid_sample(features, (2 * located.uv - 1)[None, None], align_corners=False)[0, :, 0].T
        attended = encoder.merge_joint_field(encoder.joint_filter(located.query))
        position = located.canonical + encoder.skinning_deform(torch.cat([attended, texture], dim=-1))
        sigma, feature = network.field.density({"pos": position, "attnout": attended})
        rays = directions.repeat_interleave(SAMPLES, dim=0)
        rgb = network.field.color({"feat": feature, "attnout": attended, "texture": texture, "ray": rays})
        sigma = sigma.view_as(depths)
        energy = torch.relu(sigma if noise.density is None else sigma + noise.density) * lengths
        weights = compositing_weights(energy)
        color = (weights.unsqueeze(-1) * rgb.view(*depths.shape, 3)).sum(1)
        return color + (1 - weights.sum(-1, keepdim=True)) * network.field.background


def capsule(rings: int, sides: int, height: float = 1.7, radius: float = 0.24) -> tuple[Tensor, Tensor]:
    """Vertices and outward triangles of a closed upright body."""
    levels, angles = torch.linspace(0, 1, rings), torch.arange(sides) * (2 * torch.pi / sides)
    wide = radius * torch.sin(torch.pi * (0.06 + 0.88 * levels)).clamp_min(0.3)
    ring = torch.stack([angles.cos(), torch.zeros(sides), -angles.sin()], dim=-1)
    up = torch.tensor([0.0, 1.0, 0.0])
    vertices = (ring * wide[:, None, None] + levels[:, None, None] * height * up).flatten(0, 1)
    vertices = torch.cat([vertices, -0.05 * up[None], (height + 0.05) * up[None]])
    side, level = torch.arange(sides), torch.arange(rings - 1) * sides
    following = (side + 1) % sides
    a, b = (level[:, None] + side).flatten(), (level[:, None] + following).flatten()
    walls = torch.cat([torch.stack([a, b, a + sides], -1), torch.stack([b, b + sides, a + sides], -1)])
    bottom, top, last = rings * sides, rings * sides + 1, (rings - 1) * sides
    caps = [
        torch.stack([torch.full_like(side, bottom), following, side], -1),
        torch.stack([torch.full_like(side, top), last + side, last + following], -1),
    ]
    return vertices, torch.cat([walls, *caps])


def peak_memory(rays: int = 1024) -> float:
    """Gigabytes that a training step of `rays` x 65 samples needs beyond what imports and networks took."""
    global RAYS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    setting = Setting(rings=50, sides=15)
    RAYS = rays
    setting.step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"peak memory of 1024 rays x 65 samples, {TEXTURE} x {TEXTURE} texture: {peak_memory():.2f} GB")
