"""A surface out of a multiplane image: alpha as a volume, smoothed, marching cubes, colours from the texture."""

from pathlib import Path
from typing import Literal

import mcubes
import numpy as np
import torch
import trimesh
from torch import Tensor

from likeness.files import atomic_path
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.networks import MPI

Smoothing = Literal["auto", "constrained", "gaussian"]
LEVEL = 0.01


def surface(
    alpha: np.ndarray, lower: np.ndarray, upper: np.ndarray, smoothing: Smoothing = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of the volume alpha (Z, Y, X) between the corners `lower` and `upper` (x, y, z).

    "auto" smooths as the published tool did: constrained (from the signed distance of alpha > 0) up to 500^3 voxels, a
    Gaussian of alpha - 0.5 beyond.
    """
    field = mcubes.smooth(alpha, method=smoothing)
    vertices, faces = mcubes.marching_cubes(field, LEVEL)
    size = np.array(alpha.shape[::-1])
    return vertices[:, ::-1] / size * (upper - lower) + lower, faces[:, [1, 0, 2]]


def mesh_of(
    avatar: Avatar, seed: int, *, psi: float = 1.0, chunk: int | None = 64, smoothing: Smoothing = "auto"
) -> trimesh.Trimesh:
    """The coloured surface of a seed, in scene units; the background plane is left as the network made it."""
    planes = volume_planes(avatar)
    mpi = avatar.mpi(avatar.z(seed), planes, psi=psi, chunk=chunk, force_background=False)
    return mesh_of_layers(avatar, mpi, smoothing)


def volume_planes(avatar: Avatar) -> Tensor:
    """(P, 3) as many uniformly spaced planes as make the voxels cubes."""
    scene = avatar.scene
    if avatar.config.variant == "vanilla":
        return scene.planes(avatar.config.planes, "uniform")
    return scene.planes(max(2, _depth_voxels(avatar)), "uniform")


def mesh_of_layers(avatar: Avatar, mpi: MPI, smoothing: Smoothing = "auto") -> trimesh.Trimesh:
    """The coloured surface of one multiplane image on `volume_planes`, in scene units.

    Empty planes in front fill the volume up to a cube.
    """
    scene, resolution = avatar.scene, avatar.config.resolution
    width = float(scene.planes(2)[0, 2])
    alpha = mpi.alpha[0].cpu().numpy()
    if avatar.config.variant == "vanilla":
        wanted = max(len(alpha), _depth_voxels(avatar))
        alpha = np.repeat(alpha, -(-wanted // len(alpha)), axis=0)[:resolution]
    volume = np.concatenate([np.zeros((resolution - len(alpha), resolution, resolution), np.float32), alpha])
    lower = np.array([-width / 2, -width / 2, scene.far - width])
    upper = np.array([width / 2, width / 2, scene.far])
    vertices, faces = surface(volume, lower, upper, smoothing)
    # Colour where the vertex projects onto the frontal texture, which every plane but the last shows.
    grid = torch.from_numpy(vertices[:, :2] / (width / 2)).float().reshape(1, -1, 1, 2)
    seen = torch.nn.functional.grid_sample(mpi.foreground.cpu(), grid, align_corners=True)[0, :, :, 0].T
    return trimesh.Trimesh(vertices, faces, vertex_colors=(seen.numpy() * 255).round().astype(np.uint8), process=False)


def _depth_voxels(avatar: Avatar) -> int:
    scene = avatar.scene
    width = float(scene.planes(2)[0, 2])
    return int(min(1.0, (scene.far - scene.near) / width) * avatar.config.resolution)


def write_mesh(path: str | Path, mesh: trimesh.Trimesh) -> None:
    """Write `.ply` in the scene's axes, or `.glb` turned to glTF's (y up, z to the viewer) around its middle."""
    path = Path(path)
    if path.suffix == ".glb":
        mesh = mesh.copy()
        mesh.vertices = (mesh.vertices - mesh.vertices.mean(axis=0)) * [1, -1, -1]
    with atomic_path(path) as temporary:
        mesh.export(temporary, file_type=path.suffix[1:])
