"""What a view of the actor is shown as: colours, depth, normals, and overlays of mesh, weights and skeleton."""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.methods.neural_actor.avatar import View
from likeness.methods.neural_actor.networks.actor import ActorNetwork, PosedBody
from likeness.methods.neural_actor.renderer import EMPTY_DEPTH
from likeness.methods.neural_actor.viewpoints import Viewpoint
from likeness.render.intersect import MeshTree
from likeness.render.intersect import SurfacePoint as Hit


def color_picture(view: View) -> Tensor:
    """(3, H, W) in [0, 1]."""
    return ((_grid(view, view.seen.color) + 1) / 2).clamp(0, 1)


def depth_picture(view: View) -> Tensor:
    """(3, H, W) jet colours over the picture's least to largest depth."""
    depth = view.seen.depth.cpu()
    share = (depth - depth.min()) / (depth.max() - depth.min()).clamp_min(1e-8)
    colors = matplotlib.colormaps["jet"](share.numpy())[..., :3]
    return _grid(view, torch.from_numpy(colors).float())


def normals_from_depth(depth: Tensor, directions: Tensor) -> Tensor:
    """(H, W, 3) normals of the surface that depths (H, W) along unit directions (H, W, 3) span.

    Differences between the two neighbours in a row and in a column, left minus right and up minus down, are brought to
    unit length; the normal is their cross product, not normalised, and 0 on the border.
    """
    points = directions * depth.unsqueeze(-1)
    across = F.normalize(points[1:-1, :-2] - points[1:-1, 2:], dim=-1)
    down = F.normalize(points[:-2, 1:-1] - points[2:, 1:-1], dim=-1)
    return F.pad(torch.linalg.cross(across, down), (0, 0, 1, 1, 1, 1))


def normal_picture(view: View, viewpoint: Viewpoint) -> Tensor:
    """(3, H, W) normals from depth in the camera's frame, as (n + 1) / 2."""
    rotation = viewpoint.camera.camera_to_world[:3, :3].to(view.directions)
    normals = normals_from_depth(view.seen.depth.view(view.size), (view.directions @ rotation).view(*view.size, 3))
    return ((normals.permute(2, 0, 1) + 1) / 2).cpu()


def field_normal_picture(view: View) -> Tensor:
    """(3, H, W) the field's own normals in canonical space, as (n + 1) / 2."""
    assert view.seen.normal is not None
    return (_grid(view, view.seen.normal) + 1) / 2


def first_hits(network: ActorNetwork, body: PosedBody, view: View) -> Hit:
    """Where the view's rays first meet the posed mesh, (1, H W)."""
    tree = MeshTree(body.pose.to_world(body.vertices).unsqueeze(0), network.encoder.faces.int())
    return tree.cast(view.origin.expand(1, len(view.directions), 3), view.directions.unsqueeze(0))


def mesh_picture(network: ActorNetwork, body: PosedBody, view: View, texture: Tensor | None) -> Tensor:
    """(3, H, W) the posed mesh with `texture` (3, Ht, Wt), or shaded by its flat normals, over the background."""
    hit = first_hits(network, body, view)
    encoder = network.encoder
    if texture is None:
        corners = body.vertices[encoder.faces]
        normals = F.normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1)
        facing = -((normals[hit.triangle[0].clamp(min=0)] @ body.pose.rotation) * view.directions).sum(-1)
        colors = (0.25 + 0.65 * facing.clamp(0, 1)).unsqueeze(-1).expand(-1, 3)
    else:
        colors = sample_uv(texture.to(body.vertices), corner_mean(encoder.face_uv, hit))
    return over_hits(view, hit, colors, network.field.background)


def weights_picture(network: ActorNetwork, body: PosedBody, view: View) -> Tensor:
    """(3, H, W) the posed mesh in its bones' colours, mixed by the skinning weights."""
    hit = first_hits(network, body, view)
    encoder = network.encoder
    hues = matplotlib.colormaps["hsv"](np.linspace(0, 1, encoder.weights.shape[1], endpoint=False))[:, :3]
    # Neighbouring bones get colours far apart.
    order = np.argsort(np.arange(len(hues)) * 0.618 % 1, kind="stable")
    palette = torch.from_numpy(hues[order]).to(encoder.weights)
    colors = corner_mean((encoder.weights @ palette)[encoder.faces], hit)
    return over_hits(view, hit, colors, network.field.background)


def skeleton_picture(
    picture: Tensor, joints: Tensor, viewpoint: Viewpoint, parents: Sequence[int] | None = None
) -> Tensor:
    """`picture` (3, H, W) with joints (J, 3) of the world as dots, and lines to their parents where these are known."""
    height, width = picture.shape[1:]
    pose = torch.linalg.inv(viewpoint.camera.camera_to_world)
    local = joints.cpu() @ pose[:3, :3].T + pose[:3, 3]
    intrinsics = viewpoint.camera.intrinsics
    pixels = local @ intrinsics[:3, :3].T
    pixels = pixels[:, :2] / pixels[:, 2:] * torch.tensor([width / viewpoint.size[1], height / viewpoint.size[0]])
    places = [(round(x), round(y)) if z > 0 else None for (x, y), z in zip(pixels.tolist(), local[:, 2].tolist())]
    canvas = np.ascontiguousarray((picture.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8))
    thickness = max(1, min(height, width) // 200)
    for child, parent in enumerate(parents or ()):
        start, end = places[child], places[parent]
        if parent >= 0 and start is not None and end is not None:
            cv2.line(canvas, start, end, (40, 90, 220), thickness, cv2.LINE_AA)
    for place in places:
        if place is not None:
            cv2.circle(canvas, place, thickness + 1, (220, 60, 40), -1, cv2.LINE_AA)
    return torch.from_numpy(canvas).permute(2, 0, 1).float() / 255


def corner_mean(values: Tensor, hit: Hit) -> Tensor:
    """(N, C) values (F, 3, C) of face corners at the hits (1, N); 0 where there is none."""
    return torch.einsum("nk,nkc->nc", hit.barycentric[0], values[hit.triangle[0].clamp(min=0).long()])


def sample_uv(texture: Tensor, uv: Tensor) -> Tensor:
    """(N, C) of a texture (C, H, W), row 0 on top, at uv (N, 2), v up."""
    grid = (2 * uv - 1) * uv.new_tensor([1.0, -1.0])
    return F.grid_sample(texture.unsqueeze(0), grid[None, None], align_corners=False)[0, :, 0].T


def over_hits(view: View, hit: Hit, colors: Tensor, background: Tensor) -> Tensor:
    """(3, H, W) `colors` (N, 3) in [0, 1] where rays hit, the field's `background` (3,) elsewhere."""
    covered = (hit.triangle[0] >= 0).unsqueeze(-1)
    return _grid(view, torch.where(covered, colors, (background + 1) / 2)).clamp(0, 1)


def mesh_depth(hit: Hit) -> Tensor:
    """(N,) metres along the ray; `EMPTY_DEPTH` where nothing is hit."""
    return torch.where(hit.triangle[0] >= 0, hit.distance[0], EMPTY_DEPTH)


def _grid(view: View, values: Tensor) -> Tensor:
    return values.view(*view.size, -1).permute(2, 0, 1).cpu()
