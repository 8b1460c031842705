"""Your own photograph in 3D: fit a style to an aligned portrait, then the generator around it.

Source: Roich et al., "Pivotal Tuning for Latent-based Editing of Real Images", TOG 2022, on GMPI's generator.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.portraits import PoseLabel
from likeness.media.image import read_image, write_image
from likeness.methods.gmpi.animate import write_sweep
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.data import pose_of
from likeness.methods.gmpi.extract import portrait, pose_of_landmarks
from likeness.methods.gmpi.mesh import mesh_of_layers, volume_planes, write_mesh
from likeness.methods.gmpi.networks import MPI, MPIGenerator
from likeness.methods.gmpi.packed import open_avatar
from likeness.methods.gmpi.page import write_page
from likeness.perception.faces import MediaPipeFaces
from likeness.render.multiplane import render

MEAN_STYLES = 1000
MESH_CHUNK = 64
"""Planes a pass when the mesh's volume is made."""
ALIGNED_SIDE = 256
"""Side of the cut-out portrait, at least: the picture that is fitted is made of it."""


@dataclass(frozen=True, kw_only=True)
class InvertConfig:
    """Fit a trained GMPI to a photograph and show it from other sides."""

    photo: Annotated[Path, tyro.conf.Positional]
    """Square portrait, aligned as the training pictures are."""
    run: Path | None = None
    """Run of stage gmpi, or a small .safetensors of `likeness prove gmpi`; without it the small model that ships."""
    out: Path
    """Folder to write."""
    align: bool = False
    """Find the face and cut it out as the training pictures are, instead of taking the photograph as it is."""
    yaw: float = 0.0
    """The photograph's yaw in radians, positive where the camera stands to the right. Measured with `--align`."""
    pitch: float = 0.0
    """The photograph's pitch in radians, positive where the camera stands above. Measured with `--align`."""
    space: Literal["w", "w+"] = "w+"
    """One style for all layers, or one a layer."""
    style_steps: int = 300
    """Steps that fit the style."""
    tuning_steps: int = 150
    """Steps that fit the generator afterwards; 0 leaves it."""
    style_lr: float = 0.05
    """Learning rate of the style."""
    tuning_lr: float = 3e-4
    """Learning rate of the generator."""
    seed: int = 0
    """Of the mean style's samples."""


@dataclass(frozen=True)
class Inversion:
    """What a photograph became."""

    generator: MPIGenerator
    styles: Tensor
    """(1, num_ws, w_dim)."""
    mpi: MPI
    planes: Tensor
    """(P, 3)."""
    psnr_style: float
    """dB after the style's fit."""
    psnr: float
    """dB after tuning."""


def invert(config: InvertConfig) -> None:
    """Write fitted.png, video_rgb_*.mp4 and video_depth_*.mp4, parallax.html, mesh.ply and mesh.glb."""
    avatar = open_avatar(config.run)
    target, config = prepare(avatar, config)
    found = fit(avatar, target, config)
    fitted = Avatar(avatar.config, found.generator)
    angles = torch.tensor([config.yaw]), torch.tensor([config.pitch])
    image = fitted.view(found.mpi, found.planes, *angles).image[0]
    write_image(config.out / "fitted.png", image.cpu(), synthetic=True)
    write_sweep(config.out, fitted, found.mpi, found.planes, "horizontal")
    write_sweep(config.out, fitted, found.mpi, found.planes, "vertical")
    write_page(
        config.out / "parallax.html", found.mpi, found.planes, avatar.scene, align_corners=avatar.config.align_corners
    )
    layers = fitted.mpi_of_styles(found.styles, volume_planes(fitted), chunk=MESH_CHUNK, force_background=False)
    mesh = mesh_of_layers(fitted, layers)
    for suffix in ("ply", "glb"):
        write_mesh(config.out / f"mesh.{suffix}", mesh)
    print(f"{config.out}: {found.psnr_style:.1f} dB by the style alone, {found.psnr:.1f} dB after tuning")


def prepare(avatar: Avatar, config: InvertConfig) -> tuple[Tensor, InvertConfig]:
    """The portrait (1, 3, R, R) in [0, 1] to fit, and the configuration with its pose.

    Raises:
        UserError: it is not square, or to be aligned and without a face.
    """
    side = avatar.config.resolution
    if config.align:
        picture, points = portrait(config.photo, max(side, ALIGNED_SIDE), False, False, MediaPipeFaces())
        assert points is not None  # only pictures that are aligned already may be without a face
        angle, trans = pose_of_landmarks(points, max(side, ALIGNED_SIDE))
        yaw, pitch = pose_of(PoseLabel(angle=angle, trans=trans), avatar.scene)
        config = replace(config, yaw=yaw, pitch=pitch)
        photo = torch.from_numpy(picture).movedim(-1, 0).float() / 255
        print(f"the head is seen from yaw {yaw:.2f}, pitch {pitch:.2f}")
    else:
        photo = read_image(config.photo)
    if photo.shape[1] != photo.shape[2]:
        raise UserError(
            f"is {photo.shape[2]}x{photo.shape[1]}, expected a square aligned portrait: pass --align to cut it out",
            path=config.photo,
        )
    target = F.interpolate(photo[None], (side, side), mode="bicubic", antialias=True, align_corners=False)
    return target.clamp(0, 1), config


def fit(avatar: Avatar, target: Tensor, config: InvertConfig) -> Inversion:
    """Fit style and generator to `target` (1, 3, R, R) in [0, 1]; the avatar's own weights stay."""
    generator = copy.deepcopy(avatar.generator)
    planes = avatar.planes()
    depths = avatar.scene.normalised(planes[:, 0]).to(avatar.device)
    cameras = avatar.scene.cameras(torch.tensor([config.yaw]), torch.tensor([config.pitch]), target.shape[-1])
    noise = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        samples = generator.mapping(torch.randn(MEAN_STYLES, avatar.config.z_dim, generator=noise).to(avatar.device))
    count = generator.synthesis.num_ws if config.space == "w+" else 1
    styles = samples.mean(dim=0).repeat(1, count, 1).requires_grad_()
    spread = samples.std(dim=0)

    def shown() -> tuple[MPI, Tensor]:
        ws = styles.expand(-1, generator.synthesis.num_ws, -1)
        mpi = generator.from_styles(ws, depths)
        return mpi, render(mpi.colours, mpi.alpha, planes, cameras).image

    def descend(parameters: list[Tensor], steps: int, lr: float, away: float) -> float:
        optimizer = torch.optim.Adam(parameters, lr)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 - step / steps)
            loss = distance(shown()[1], target.to(avatar.device))
            # Styles far from the mean have never been seen by the alpha branch: their depth is arbitrary.
            loss = loss + away * ((styles - samples.mean(dim=0)) / (spread + 1e-8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            error = F.mse_loss(shown()[1], target.to(avatar.device))
        return float(-10 * error.clamp(min=1e-10).log10())

    by_style = descend([styles], config.style_steps, config.style_lr, 1e-3)
    styles.requires_grad_(False)
    colour = [p.requires_grad_() for n, p in generator.synthesis.named_parameters()
              if not any(part in n for part in ("toalpha", "todepth", "pos_enc"))]  # fmt: skip
    tuned = descend(colour, config.tuning_steps, config.tuning_lr, 0.0) if config.tuning_steps else by_style
    with torch.no_grad():
        mpi, _ = shown()
    generator.requires_grad_(False)
    return Inversion(generator, styles.expand(-1, generator.synthesis.num_ws, -1), mpi, planes, by_style, tuned)


def distance(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference over a pyramid of three sizes, each weighted alike."""
    total = image.new_zeros(())
    for _ in range(3):
        total = total + F.mse_loss(image, target)
        image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
    return total
