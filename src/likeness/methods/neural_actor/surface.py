"""The field's surface as a mesh: densities on a grid around the posed body, marching cubes, colours."""

from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
import trimesh
from skimage.measure import marching_cubes
from torch import Tensor

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.networks.actor import Located, PosedBody
from likeness.methods.neural_actor.renderer import CACHED_SAMPLES, exact_search
from likeness.methods.neural_actor.texture_maps import FeatureMaps
from likeness.render.intersect import MeshTree

LEVEL = 50.0
"""Density, per metre, of the surface."""
MARGIN = 0.2
"""Metres of the grid around the body."""


@torch.no_grad()
def extract_surface(
    avatar: Avatar, body: PosedBody, texture_map: FeatureMaps, resolution: int = 128, level: float = LEVEL
) -> trimesh.Trimesh:
    """The closed outer surface of density `level` (Lewiner et al., 2003), in the world, with colours.

    Beyond `min_dis_eps` of the body the density is untrained: outside it counts as 0, inside as solid, and so does
    every hollow that is shut in.

    Args:
        resolution: grid points a side.

    Raises:
        UserError: nowhere as dense.
    """
    world = body.pose.to_world(body.vertices)
    low, high = world.amin(0) - MARGIN, world.amax(0) + MARGIN
    steps = [torch.linspace(float(a), float(b), resolution, device=world.device) for a, b in zip(low, high)]
    points = torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1).view(-1, 3)
    faces = avatar.network.encoder.faces.int()
    tree = MeshTree(world.unsqueeze(0), faces)
    found = tree.closest(points.unsqueeze(0), signed=True).distance[0]
    inside = torch.zeros_like(found, dtype=torch.bool)
    boxed = ((points >= world.amin(0)) & (points <= world.amax(0))).all(-1).nonzero()[:, 0]
    inside[boxed] = tree.inside(points[boxed].unsqueeze(0))[0]
    # Where a limb is pressed into the body, the nearest face lies within the other part and is no surface.
    shut_in = inside & (found > 0)
    near = ((found.abs() < avatar.config.render.min_dis_eps) & ~shut_in).nonzero()[:, 0]
    density = torch.where(inside, 2 * level, 0.0)
    density[near] = densities(avatar, body, texture_map, points[near])
    volume = filled(density.view(resolution, resolution, resolution).cpu().numpy(), level)
    if not (volume > level).any():
        raise UserError(f"the field is nowhere as dense as {level:g}: train longer, or lower --level")
    spacing = ((high - low) / (resolution - 1)).cpu().numpy()
    # Closed meshes come out with their faces outward, as density falls towards the outside.
    vertices, triangles, _, _ = marching_cubes(volume, level, spacing=tuple(spacing), gradient_direction="ascent")
    vertices = vertices + low.cpu().numpy()
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    if mesh.volume < 0:
        mesh.invert()
    directions = -torch.from_numpy(mesh.vertex_normals.copy()).float()
    colors = colors_seen(avatar, body, texture_map, torch.from_numpy(vertices).float(), directions)
    bytes_ = (((colors + 1) / 2).clamp(0, 1) * 255).round().byte().cpu().numpy()
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=bytes_, process=False)


def filled(volume: np.ndarray, level: float) -> np.ndarray:
    """The volume with every hollow that the outside does not reach made solid."""
    labels, _ = scipy.ndimage.label(volume <= level)
    return np.where((volume <= level) & (labels != labels[0, 0, 0]), 2 * level, volume)


def densities(avatar: Avatar, body: PosedBody, texture_map: FeatureMaps, points: Tensor) -> Tensor:
    """(N,) densities per metre at world points (N, 3)."""
    network = avatar.network
    field = network.fine if network.config.fine_field else network.field
    search = exact_search(network, body)
    values = []
    for part in points.split(CACHED_SAMPLES):
        located = network.locate(body, part, search(body.pose.to_normalised(part)))
        values.append(torch.relu(field.density(network.embed(body, located, texture_map))[0]))
    return torch.cat(values) if values else points.new_zeros(0)


def colors_seen(
    avatar: Avatar, body: PosedBody, texture_map: FeatureMaps, points: Tensor, directions: Tensor
) -> Tensor:
    """(N, 3) colours in [-1, 1] of world points (N, 3) seen along unit directions (N, 3)."""
    network = avatar.network
    field = network.fine if network.config.fine_field else network.field
    search = exact_search(network, body)
    device = body.vertices.device
    values = []
    for part, rays in zip(points.to(device).split(CACHED_SAMPLES), directions.to(device).split(CACHED_SAMPLES)):
        located: Located = network.locate(body, part, search(body.pose.to_normalised(part)))
        inputs = network.embed(body, located, texture_map)
        sigma, feature = field.density(inputs)
        named = {**inputs, "feat": feature, "sigma": sigma.unsqueeze(-1), "ray": F.normalize(rays, dim=-1)}
        if "normal" in field.reads:
            named["normal"] = field.normals(inputs)
        values.append(field.color(named))
    return torch.cat(values)


def distance_to_mesh(points: Tensor, vertices: Tensor, triangles: Tensor) -> Tensor:
    """(N,) distances of points (N, 3) to the nearest points of a mesh (V, 3), (T, 3), in its unit."""
    return MeshTree(vertices.unsqueeze(0), triangles).closest(points.unsqueeze(0)).distance[0]


def write_mesh(path: Path, mesh: trimesh.Trimesh) -> None:
    """Write `.ply` (ASCII, in the world's axes and metres) or `.glb`.

    Raises:
        UserError: another suffix.
    """
    if path.suffix not in (".ply", ".glb"):
        raise UserError(f"meshes are written as .ply or .glb, not {path.suffix!r}", path=path)
    options = {"encoding": "ascii"} if path.suffix == ".ply" else {}
    with atomic_path(path) as temporary:
        mesh.export(temporary, file_type=path.suffix[1:], **options)
