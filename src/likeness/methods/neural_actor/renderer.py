"""Volume rendering of the actor: samples, density, colour, compositing (Neural Actor, section 4; NeRF, equation 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likeness.methods.neural_actor import rays, sampling
from likeness.methods.neural_actor.networks.actor import ActorNetwork, PosedBody, full_precision
from likeness.methods.neural_actor.networks.field import Field
from likeness.methods.neural_actor.texture_maps import FeatureMaps
from likeness.render.balls import ball_bounds
from likeness.render.intersect import MeshTree

EMPTY_DEPTH = 5.0
"""Depth, in metres, of what the background shows."""

LEAST_WEIGHT = 1e-10
"""Colours of lesser weight are left out of a picture: all of a ray's together stay below the rounding of its colour."""

CACHED_SAMPLES = 4096
"""Samples evaluated at once on a CPU: their activations stay in a core's cache, which halves the time."""

NearestFace = Callable[[Tensor], Tensor]
"""(N, 3) points in normalised space -> (N,) nearest faces of the posed mesh."""


@dataclass(frozen=True)
class RenderConfig:
    """How rays are sampled."""

    fixed_num_samples: int = 64
    """Depths a ray; its samples are the intervals between them, one more."""
    fine_samples: int = 0
    """Depths that are added where the first samples found the body, for a second field; 0 has no second field."""
    min_dis_eps: float = 0.06
    """Radius, in metres, of the balls around vertices that bound a ray."""
    discrete_regularization: bool = True
    """Add normal noise to the density while training."""
    near_body_only: bool = False
    """Leave out samples farther than `min_dis_eps` from the body: faster, but published fields are free there."""
    chunk_size: int = 64
    """Samples evaluated at once, in units of 1024; a CPU takes fewer where that is faster."""


@dataclass(frozen=True)
class Noise:
    """The randomness of a training step; None is deterministic."""

    depth: Tensor | None = None
    """(N, S) uniform in [0, 1)."""
    density: Tensor | None = None
    """(N, S + 1) standard normal."""
    fine_depth: Tensor | None = None
    """(N, S_fine) uniform in [0, 1)."""
    fine_density: Tensor | None = None
    """(N, S + 1 + S_fine) standard normal."""

    def at(self, index: Tensor) -> "Noise":
        """That of some rays."""
        values = (self.depth, self.density, self.fine_depth, self.fine_density)
        return Noise(*(None if value is None else value[index] for value in values))


@dataclass(frozen=True)
class RayBounds:
    """Which rays meet the body, and where."""

    near: Tensor
    """(N,) metres along the ray."""
    far: Tensor
    """(N,)."""
    hit: Tensor
    """(N,) bool."""

    def at(self, index: Tensor) -> "RayBounds":
        """Those of some rays."""
        return RayBounds(self.near[index], self.far[index], self.hit[index])


@dataclass(frozen=True)
class Rendered:
    """What rays see."""

    color: Tensor
    """(N, 3) in the field's colour space, [-1, 1]."""
    depth: Tensor
    """(N,) metres along the ray; `EMPTY_DEPTH` where nothing is."""
    missed: Tensor
    """(N,) share of light that passes."""
    coarse_color: Tensor | None = None
    """(N, 3) what the first of two fields sees."""
    normal: Tensor | None = None
    """(N, 3) mean of the field's unit normals in canonical space, where these were asked for."""


@dataclass(frozen=True)
class Scene:
    """What all rays of a view share."""

    network: ActorNetwork
    body: PosedBody
    texture_map: FeatureMaps
    nearest_face: NearestFace
    config: RenderConfig
    normals: bool = False


def exact_search(network: ActorNetwork, body: PosedBody) -> NearestFace:
    """The exact nearest face of the posed mesh, by a search tree built once for the frame."""
    tree = MeshTree(body.vertices.unsqueeze(0), network.encoder.faces.int())

    def nearest(points: Tensor) -> Tensor:
        return tree.closest(points.unsqueeze(0)).triangle[0].long()

    return nearest


def bound_rays(body: PosedBody, origin: Tensor, directions: Tensor, radius: float) -> RayBounds:
    """Intervals of rays (N, 3) near the posed body; only rays that the body's sphere admits are tested."""
    with full_precision(directions.device):
        candidates = rays.sphere_candidates(origin, directions, body.pose.joints).nonzero()[:, 0]
        world = body.pose.to_world(body.vertices)
        near, far, hit = ball_bounds(origin, directions[candidates], world, radius)
    count = len(directions)
    return RayBounds(
        near.new_zeros(count).index_copy(0, candidates, near),
        far.new_zeros(count).index_copy(0, candidates, far),
        hit.new_zeros(count).index_copy(0, candidates, hit),
    )


def render(
    network: ActorNetwork,
    body: PosedBody,
    texture_map: FeatureMaps,
    origin: Tensor,
    directions: Tensor,
    bounds: RayBounds,
    config: RenderConfig,
    nearest_face: NearestFace,
    noise: Noise | None = None,
    normals: bool = False,
) -> Rendered:
    """Render rays (N, 3) from `origin` (3,); rays without bounds show the background.

    Samples whose density is zero carry no weight and no gradient, so colour and the graph are made for the others only.
    """
    noise = noise or Noise()
    scene = Scene(network, body, texture_map, nearest_face, config, normals)
    chosen = bounds.hit.nonzero()[:, 0]
    samples = config.fixed_num_samples + 1 + config.fine_samples
    most = 1024 * config.chunk_size
    if directions.device.type == "cpu":
        most = min(most, CACHED_SAMPLES)
    parts = [
        _render_hits(scene, origin, directions[part], bounds.at(part), noise.at(part))
        for part in chosen.split(max(1, most // samples))
    ]
    count = len(directions)
    empty = Rendered(
        network.field.background.expand(count, 3),
        directions.new_full((count,), EMPTY_DEPTH),
        directions.new_ones(count),
        network.field.background.expand(count, 3) if config.fine_samples else None,
        directions.new_zeros(count, 3) if normals else None,
    )
    if not parts:
        return empty

    def spread(name: str) -> Tensor | None:
        base = getattr(empty, name)
        return None if base is None else base.index_copy(0, chosen, torch.cat([getattr(part, name) for part in parts]))

    color, depth, missed, coarse_color, normal = map(spread, ("color", "depth", "missed", "coarse_color", "normal"))
    assert color is not None and depth is not None and missed is not None
    return Rendered(color, depth, missed, coarse_color, normal)


def _render_hits(scene: Scene, origin: Tensor, directions: Tensor, bounds: RayBounds, noise: Noise) -> Rendered:
    config, network = scene.config, scene.network
    depths, lengths = sampling.interval_samples(bounds.near, bounds.far, config.fixed_num_samples, noise.depth)
    if not config.fine_samples:
        return _march(scene, network.field, origin, directions, depths, lengths, noise.density)[0]
    coarse, weights = _march(scene, network.field, origin, directions, depths, lengths, noise.density)
    probabilities = weights.detach() + 1e-8
    probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    edges = torch.cat([depths - lengths / 2, bounds.far.unsqueeze(-1)], dim=-1)
    depths, lengths = sampling.importance_samples(edges, probabilities, config.fine_samples, noise.fine_depth)
    fine, _ = _march(scene, network.fine, origin, directions, depths, lengths, noise.fine_density)
    return Rendered(fine.color, fine.depth, fine.missed, coarse.color, fine.normal)


def _march(
    scene: Scene,
    field: Field,
    origin: Tensor,
    directions: Tensor,
    depths: Tensor,
    lengths: Tensor,
    density_noise: Tensor | None,
) -> tuple[Rendered, Tensor]:
    """What rays (N, 3) see through one field, and the weights (N, S) of their samples."""
    points = (origin + depths.unsqueeze(-1) * directions.unsqueeze(1)).flatten(0, 1)
    spans = lengths.flatten()
    extra = torch.zeros_like(spans) if density_noise is None else density_noise.flatten()
    with torch.no_grad():
        with full_precision(points.device):
            faces = scene.nearest_face(scene.body.pose.to_normalised(points))
            located = scene.network.locate(scene.body, points, faces)
        place = torch.arange(len(points), device=points.device)
        if scene.config.near_body_only:
            place = (located.distance.abs() < scene.config.min_dis_eps).nonzero()[:, 0]
            located, spans, extra = located.at(place), spans[place], extra[place]
        inputs = scene.network.embed(scene.body, located, scene.texture_map)
        sigma, feature = field.density(inputs)
        energy = torch.relu(sigma.float() + extra) * spans
    if torch.is_grad_enabled():
        live = (energy > 0).nonzero()[:, 0]
        inputs = scene.network.embed(scene.body, located.at(live), scene.texture_map)
        sigma, feature = field.density(inputs)
        energy = torch.relu(sigma.float() + extra[live]) * spans[live]
        weights = compositing_weights(_spread(energy, place[live], depths))
    else:
        weights = compositing_weights(_spread(energy, place, depths))
        live = (weights.flatten()[place] > LEAST_WEIGHT).nonzero()[:, 0]
        inputs = {name: value[live] for name, value in inputs.items() if name in field.reads}
        sigma, feature = sigma[live], feature[live]
    place = place[live]
    rays_of = torch.div(place, depths.shape[1], rounding_mode="floor")
    named = {**inputs, "feat": feature, "sigma": sigma.unsqueeze(-1), "ray": directions[rays_of]}
    if scene.normals or "normal" in field.reads:
        named["normal"] = field.normals(inputs)
    rgb = field.color(named).float()
    share = weights.flatten()[place].unsqueeze(-1)
    missed = 1 - weights.sum(-1)
    color = rgb.new_zeros(len(directions), 3).index_add(0, rays_of, share * rgb)
    color = color + missed.unsqueeze(-1) * field.background
    depth = (weights * depths).sum(-1) + missed * EMPTY_DEPTH
    normal = None
    if scene.normals:
        normal = rgb.new_zeros(len(directions), 3).index_add(0, rays_of, share * named["normal"])
    return Rendered(color, depth, missed, None, normal), weights


def _spread(values: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """`values` (M,) at their places among the samples (N, S), 0 elsewhere."""
    return values.new_zeros(like.numel()).index_copy(0, place, values).view_as(like)


def compositing_weights(energy: Tensor) -> Tensor:
    """Weights (N, S) of optical depths (N, S): (1 - exp(-e_k)) exp(-sum of the earlier ones)."""
    before = energy.cumsum(-1) - energy
    return -torch.expm1(-energy) * torch.exp(-before)
