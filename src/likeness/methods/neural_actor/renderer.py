"""Volume rendering of the actor: samples, density, colour, compositing (Neural Actor, section 4; NeRF, equation 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.methods.neural_actor import rays, sampling
from likeness.methods.neural_actor.networks.actor import ActorNetwork, Located, PosedBody

EMPTY_DEPTH = 5.0
"""Depth, in metres, of what the background shows."""

NearestFace = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(N, 3) points, (V, 3) vertices, (F, 3) faces -> (N,) nearest faces."""


@dataclass(frozen=True)
class RenderConfig:
    """How rays are sampled."""

    fixed_num_samples: int = 64
    """Depths a ray; its samples are the intervals between them, one more."""
    min_dis_eps: float = 0.06
    """Radius, in metres, of the balls around vertices that bound a ray."""
    discrete_regularization: bool = True
    """Add normal noise to the density while training."""
    near_body_only: bool = False
    """Give no density to samples farther than `min_dis_eps` from the body; published fields are free there."""
    chunk_size: int = 64
    """Samples evaluated at once, in units of 1024."""


@dataclass(frozen=True)
class Noise:
    """The randomness of a training step; None is deterministic."""

    depth: Tensor | None = None
    """(N, S) uniform in [0, 1)."""
    density: Tensor | None = None
    """(N, S + 1) standard normal."""


@dataclass(frozen=True)
class RayBounds:
    """Which rays meet the body, and where."""

    near: Tensor
    """(N,) metres along the ray."""
    far: Tensor
    """(N,)."""
    hit: Tensor
    """(N,) bool."""


@dataclass(frozen=True)
class Rendered:
    """What rays see."""

    color: Tensor
    """(N, 3) in the field's colour space, [-1, 1]."""
    depth: Tensor
    """(N,) metres along the ray; `EMPTY_DEPTH` where nothing is."""
    missed: Tensor
    """(N,) share of light that passes."""


def bound_rays(body: PosedBody, origin: Tensor, directions: Tensor, radius: float) -> RayBounds:
    """Intervals of rays (N, 3) near the posed body; only rays that the body's sphere admits are tested."""
    candidates = rays.sphere_candidates(origin, directions, body.pose.joints).nonzero()[:, 0]
    world = body.pose.to_world(body.vertices)
    near, far, hit = rays.ball_bounds(origin, directions[candidates], world, radius)
    count = len(directions)
    return RayBounds(
        near.new_zeros(count).index_copy(0, candidates, near),
        far.new_zeros(count).index_copy(0, candidates, far),
        hit.new_zeros(count).index_copy(0, candidates, hit),
    )


def render(
    network: ActorNetwork,
    body: PosedBody,
    texture_map: Tensor,
    origin: Tensor,
    directions: Tensor,
    bounds: RayBounds,
    config: RenderConfig,
    nearest_face: NearestFace,
    noise: Noise | None = None,
) -> Rendered:
    """Render rays (N, 3) from `origin` (3,); rays without bounds show the background.

    Samples whose density is zero carry no weight and no gradient, so colour and the graph are made for the others only.
    """
    noise = noise or Noise()
    chosen = bounds.hit.nonzero()[:, 0]
    background = network.field.background
    color = background.expand(len(directions), 3)
    depth = directions.new_full((len(directions),), EMPTY_DEPTH)
    missed = directions.new_ones(len(directions))
    samples = config.fixed_num_samples + 1
    step = max(1, 1024 * config.chunk_size // samples)
    parts = [
        _render_hits(network, body, texture_map, origin, directions[part], bounds, part, config, nearest_face, noise)
        for part in chosen.split(step)
    ]
    if not parts:
        return Rendered(color, depth, missed)
    return Rendered(
        color.index_copy(0, chosen, torch.cat([part.color for part in parts])),
        depth.index_copy(0, chosen, torch.cat([part.depth for part in parts])),
        missed.index_copy(0, chosen, torch.cat([part.missed for part in parts])),
    )


def _render_hits(
    network: ActorNetwork,
    body: PosedBody,
    texture_map: Tensor,
    origin: Tensor,
    directions: Tensor,
    bounds: RayBounds,
    index: Tensor,
    config: RenderConfig,
    nearest_face: NearestFace,
    noise: Noise,
) -> Rendered:
    depth_noise = None if noise.depth is None else noise.depth[index]
    depths, lengths = sampling.interval_samples(
        bounds.near[index], bounds.far[index], config.fixed_num_samples, depth_noise
    )
    points = (origin + depths.unsqueeze(-1) * directions.unsqueeze(1)).flatten(0, 1)
    faces = nearest_face(body.pose.to_normalised(points), body.vertices, network.encoder.faces)
    located = network.locate(body, points, faces)
    extra = torch.zeros_like(depths) if noise.density is None else noise.density[index]
    near_body = torch.ones_like(depths, dtype=torch.bool)
    if config.near_body_only:
        near_body = (located.distance.abs() < config.min_dis_eps).view_as(depths)
    with torch.no_grad():
        sigma, _ = network.field.density(network.embed(located, texture_map))
        live = ((sigma.view_as(depths) + extra > 0) & near_body).flatten().nonzero()[:, 0]
    alive = Located(located.canonical[live], located.query[live], located.uv[live], located.distance[live])
    inputs = network.embed(alive, texture_map)
    sigma, feature = network.field.density(inputs)
    rays_of = torch.div(live, depths.shape[1], rounding_mode="floor")
    rgb = network.field.color({**inputs, "feat": feature, "sigma": sigma.unsqueeze(-1), "ray": directions[rays_of]})
    energy_live = torch.relu(sigma + extra.flatten()[live]) * lengths.flatten()[live]
    energy = energy_live.new_zeros(depths.numel()).index_copy(0, live, energy_live).view_as(depths)
    weights = compositing_weights(energy)
    weighted = weights.flatten()[live].unsqueeze(-1) * rgb
    missed = 1 - weights.sum(-1)
    color = weighted.new_zeros(len(directions), 3).index_add(0, rays_of, weighted)
    color = color + missed.unsqueeze(-1) * network.field.background
    return Rendered(color, (weights * depths).sum(-1) + missed * EMPTY_DEPTH, missed)


def compositing_weights(energy: Tensor) -> Tensor:
    """Weights (N, S) of optical depths (N, S): (1 - exp(-e_k)) exp(-sum of the earlier ones)."""
    before = energy.cumsum(-1) - energy
    return -torch.expm1(-energy) * torch.exp(-before)
