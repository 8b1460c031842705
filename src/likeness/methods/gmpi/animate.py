"""What a trained GMPI shows: single pictures, layers, sweeps of the camera, meshes, pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.media.image import grid, write_image
from likeness.media.video import write_video
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.mesh import Smoothing, mesh_of, write_mesh
from likeness.methods.gmpi.networks import MPI, TruncationCentre
from likeness.methods.gmpi.packed import open_avatar
from likeness.methods.gmpi.page import write_page
from likeness.nets.stylegan2 import Noise, random_noise

FRAMES, RATE = 100, 8
YAW, PITCH = 0.5, 0.3
COLUMNS = 8


@dataclass(frozen=True, kw_only=True)
class AnimateConfig:
    """Pictures, videos, layers and pages of a run's samples."""

    run: Path | None = None
    """Run of stage gmpi (trained or imported), or a small .safetensors of `likeness prove gmpi`; without it the small
    model that ships."""
    output_dir: Path
    """Folder to write; with several seeds, one sub-folder each."""
    seeds: tuple[int, ...] = (0,)
    """Samples."""
    nplanes: int = 32
    """Planes (the vanilla variant keeps its own number)."""
    truncation_psi: float = 1.0
    """Truncation; 1 for none."""
    truncation_center: TruncationCentre = "mean"
    """What truncation pulls towards; `zero` repeats the published tool."""
    noise: Literal["const", "none", "random"] = "const"
    """The generator's noise; `random` is drawn from the seed."""
    what: tuple[Literal["image", "horizontal", "vertical", "page"], ...] = ("image", "horizontal", "page")
    """What to write: a picture with its layers, the yaw and the pitch video, the parallax page."""
    chunk_n_planes: int = -1
    """Planes a pass, to need less memory; -1 for all. It changes nothing else."""


def animate(config: AnimateConfig) -> None:
    """Write rendered.png and mpi_*.png, video_rgb_*.mp4 and video_depth_*.mp4, parallax.html for every seed."""
    avatar = open_avatar(config.run)
    for seed in config.seeds:
        folder = config.output_dir if len(config.seeds) == 1 else config.output_dir / f"seed_{seed:04d}"
        animate_seed(avatar, seed, folder, config)
        print(folder)


def animate_seed(avatar: Avatar, seed: int, folder: Path, config: AnimateConfig) -> None:
    """Write what `config` asks for of one seed into `folder`."""
    planes = avatar.planes(config.nplanes)
    generator = torch.Generator().manual_seed(seed)
    noise: Noise = random_noise(generator) if config.noise == "random" else config.noise
    mpi = avatar.mpi(
        avatar.z(seed),
        planes,
        psi=config.truncation_psi,
        centre=config.truncation_center,
        noise=noise,
        chunk=None if config.chunk_n_planes < 1 else config.chunk_n_planes,
    )
    if "image" in config.what:
        angles = (2 * torch.rand(2, generator=generator) - 1) * torch.tensor([YAW, PITCH])
        image = avatar.view(mpi, planes, angles[:1], angles[1:]).image[0]
        write_image(folder / "rendered.png", image.cpu(), synthetic=True)
        write_layers(folder, mpi)
    for direction in ("horizontal", "vertical"):
        if direction in config.what:
            write_sweep(folder, avatar, mpi, planes, direction)
    if "page" in config.what:
        write_page(folder / "parallax.html", mpi, planes, avatar.scene, align_corners=avatar.config.align_corners)


def write_layers(folder: Path, mpi: MPI) -> None:
    """mpi_alpha.png (stretched over the whole image), mpi_rgb.png and mpi_rgba.png: one tile a plane, 8 in a row."""
    dense = mpi.dense()[0].cpu()  # (P, 4, R, R)
    alpha = dense[:, 3:].expand(-1, 3, -1, -1)
    spread = (alpha.max() - alpha.min()).clamp(min=1e-8)
    tiles = {"alpha": (alpha - alpha.min()) / spread, "rgb": dense[:, :3], "rgba": dense[:, :3] * dense[:, 3:]}
    for name, pictures in tiles.items():
        write_image(folder / f"mpi_{name}.png", grid(pictures, COLUMNS), synthetic=True)


def sweep(direction: Literal["horizontal", "vertical"]) -> tuple[Tensor, Tensor]:
    """yaw (100,), pitch (100,): from 0.5 to -0.5 of yaw, or from 0.3 to -0.3 of pitch."""
    still = torch.zeros(FRAMES)
    if direction == "horizontal":
        return torch.linspace(YAW, -YAW, FRAMES), still
    return still, torch.linspace(PITCH, -PITCH, FRAMES)


def write_sweep(
    folder: Path, avatar: Avatar, mpi: MPI, planes: Tensor, direction: Literal["horizontal", "vertical"]
) -> None:
    """video_rgb_<direction>.mp4 and video_depth_<direction>.mp4 (near black, far white)."""
    yaw, pitch = sweep(direction)
    near, far = avatar.scene.near, avatar.scene.far

    def frames(kind: str) -> Iterator[Tensor]:
        for one_yaw, one_pitch in zip(yaw.split(1), pitch.split(1)):
            shown = avatar.view(mpi, planes, one_yaw, one_pitch)
            if kind == "rgb":
                yield shown.image[0].clamp(0, 1).cpu()
            else:
                yield ((shown.depth[0] - near) / (far - near)).clamp(0, 1).expand(3, -1, -1).cpu()

    for kind in ("rgb", "depth"):
        write_video(folder / f"video_{kind}_{direction}.mp4", frames(kind), RATE, synthetic=True)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """A mesh of a run's sample, or the run in the published layout."""

    run: Path | None = None
    """Run of stage gmpi, or a small .safetensors of `likeness prove gmpi`; without it the small model that ships."""
    out: Path
    """Folder to write."""
    to: Literal["ply", "glb"] = "ply"
    """Format of the mesh."""
    layout: Literal["none", "original"] = "none"
    """`original` writes generator.pth, ema.pth and config.pth instead of a mesh."""
    seed: int = 0
    """The sample."""
    truncation_psi: float = 1.0
    """Truncation; 1 for none."""
    chunk_n_planes: int = 64
    """Planes a pass."""
    smoothing: Smoothing = "auto"
    """How the volume is smoothed; `auto` as the published tool: constrained up to 500^3 voxels, else Gaussian."""


def export(config: ExportConfig) -> None:
    """Write mesh_<psi>.ply (or .glb, coloured), or the run's weights in the published layout."""
    if config.layout == "original":
        from likeness.methods.gmpi.published import export_published

        if config.run is None:
            raise UserError("--layout original writes a run: name it with --run")
        export_published(config.run, config.out)
        return
    mesh = mesh_of(
        open_avatar(config.run),
        config.seed,
        psi=config.truncation_psi,
        chunk=config.chunk_n_planes,
        smoothing=config.smoothing,
    )
    path = config.out / f"mesh_{config.truncation_psi}.{config.to}"
    write_mesh(path, mesh)
    print(f"{path}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces")
