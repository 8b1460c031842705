"""Shading a multiplane image by the normals of its own depth, so that training cannot leave the geometry flat.

Source: Zhao et al., ECCV 2022, section 3.4 ("shading-guided training").
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from likeness.methods.gmpi.networks import MPI
from likeness.methods.gmpi.scene import Scene, cameras_on_sphere, sample_angle
from likeness.render.multiplane import LEAK

BLUR = 9
BLUR_SIGMA = 0.3 * ((BLUR - 1) / 2 - 1) + 0.8
LIGHT_YAW_STD, LIGHT_PITCH_MEAN, LIGHT_PITCH_STD = 0.2, 0.2, 0.05


def expected_depth(alpha: Tensor, depths: Tensor) -> Tensor:
    """Alpha (N, P, R, R), nearest first, and plane depths (P,) -> composited depth (N, R, R) in texture space."""
    through = torch.cumprod(1 - alpha + LEAK, dim=1)
    through = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], dim=1)
    return torch.einsum("nprs,nprs,p->nrs", alpha, through, depths)


def blurred(depth: Tensor) -> Tensor:
    """(N, R, R) after a 9x9 Gaussian with reflected borders."""
    offsets = torch.arange(BLUR, device=depth.device) - BLUR // 2
    taps = torch.exp(-offsets.square() / (2 * BLUR_SIGMA**2))
    taps = (taps / taps.sum()).to(depth.dtype)
    padded = F.pad(depth.unsqueeze(1), (BLUR // 2,) * 4, mode="reflect")
    rows = F.conv2d(padded, taps.view(1, 1, BLUR, 1))
    return F.conv2d(rows, taps.view(1, 1, 1, BLUR)).squeeze(1)


def points(depth: Tensor, planes: Tensor) -> Tensor:
    """Depth (N, R, R) -> points (N, R, R, 3) on the frustum through the last plane's corners; planes (P, 3)."""
    far, height, width = planes[-1].unbind()
    rows = torch.linspace(-0.5, 0.5, depth.shape[1], device=depth.device) * height
    columns = torch.linspace(-0.5, 0.5, depth.shape[2], device=depth.device) * width
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = torch.stack([x, y, far.expand_as(x)], dim=-1)
    return grid * (depth / (far + 1e-8)).unsqueeze(-1)


def normals(surface: Tensor) -> Tensor:
    """Points (N, R, R, 3) -> unit normals (N, R, R, 3), borders repeated from the interior."""
    middle = surface[:, 1:-1, 1:-1]
    up, down = surface[:, :-2, 1:-1] - middle, surface[:, 2:, 1:-1] - middle
    left, right = surface[:, 1:-1, :-2] - middle, surface[:, 1:-1, 2:] - middle
    pairs = ((up, left), (left, down), (down, right), (right, up))
    total = torch.stack([torch.linalg.cross(a, b) for a, b in pairs]).sum(dim=0)
    unit = total / (total.norm(dim=-1, keepdim=True) + 1e-8)
    return F.pad(unit.movedim(-1, 1), (1, 1, 1, 1), mode="replicate").movedim(1, -1)


def light_directions(yaw: Tensor, pitch: Tensor, radius: float) -> Tensor:
    """(N, 3) directions from lights on the cameras' sphere at yaw, pitch (N,) towards its centre."""
    camera = cameras_on_sphere(yaw, pitch, radius, 1.0, 1)
    return camera.rotation[..., 2, :]


def sample_lights(count: int) -> tuple[Tensor, Tensor]:
    """yaw (count,) and pitch (count,) of lights, from torch's global generator."""
    yaw = sample_angle(count, LIGHT_YAW_STD, 2, "truncated_gaussian", None)
    return yaw, LIGHT_PITCH_MEAN + sample_angle(count, LIGHT_PITCH_STD, 2, "truncated_gaussian", None)


def shade(mpi: MPI, planes: Tensor, direction: Tensor, ambient: float, diffuse: float) -> MPI:
    """The multiplane image with colours times clip(ambient + diffuse max(0, -n.l)), clipped to [0, 1].

    Differentiable to alpha too: the normals are its own.

    Args:
        mpi: N multiplane images.
        planes: (P, 3) depth, height, width.
        direction: (N, 3) or (3,) unit vectors along which the light travels.
        ambient, diffuse: strengths.
    """
    facing = -(surface_normals(mpi.alpha, planes) * direction.reshape(-1, 1, 1, 3)).sum(dim=-1)
    factor = (ambient + diffuse * facing.clamp(min=0)).unsqueeze(1)  # (N, 1, R, R)
    return MPI((mpi.foreground * factor).clamp(0, 1), (mpi.background * factor).clamp(0, 1), mpi.alpha)


def surface_normals(alpha: Tensor, planes: Tensor) -> Tensor:
    """(N, R, R, 3) normals of the composited depth of alpha (N, P, R, R)."""
    return normals(points(blurred(expected_depth(alpha, planes[:, 0])), planes))


def ramp(calls: int, length: int) -> float:
    """Strength of the shading at its `calls`-th use, from 0: the first shaded batch is black, as published."""
    return min(1.0, calls / length)


def sample_shading(mpi: MPI, planes: Tensor, scene: Scene, strength: float, ambient: float, diffuse: float) -> MPI:
    """Shade each of N multiplane images from a random light, all weights times `strength`."""
    yaw, pitch = sample_lights(len(mpi.alpha))
    direction = light_directions(yaw, pitch, scene.radius).to(mpi.alpha)
    return shade(mpi, planes, direction, ambient * strength, diffuse * strength)
