"""GMPI's evaluation protocol: pictures from the average, FID and KID, identity, depth and pose.

Source: Zhao et al., ECCV 2022, section 5.2, and its published evaluation settings.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.files import atomic_path, write_text
from likeness.media.image import list_images, read_image, write_image
from likeness.methods.gmpi.avatar import Avatar
from likeness.methods.gmpi.data import first_pictures
from likeness.methods.gmpi.networks import TruncationCentre
from likeness.methods.gmpi.packed import open_avatar
from likeness.methods.gmpi.truth import measure_truth
from likeness.metrics.csim import cosine
from likeness.metrics.depth import depth_error
from likeness.metrics.fid import frechet_distance, kernel_distance
from likeness.metrics.inception import features, load_inception
from likeness.metrics.pose import angle_error
from likeness.nets.stylegan2 import random_noise

Task = Literal["fid_kid", "consistency", "geometry", "truth"]
Embed = Callable[[Tensor], Tensor]
"""Pictures (N, 3, H, W) in [0, 1] -> features (N, D)."""
GEOMETRY_SIZE = 224
KID_SUBSET = 1000


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Write a run's pictures as the protocol names them, and measure them with backbones given by path."""

    run: Path | None = None
    """Run of stage gmpi, or a small .safetensors of `likeness prove gmpi`; without it the small model that ships."""
    out: Path
    """Folder to write."""
    data: Path | None = None
    """Folder of the data set, where it is not the run's own."""
    task: Task = "fid_kid"
    """fid_kid: single views. consistency: pairs of views. geometry: views with depth at 224 pixels. truth: portraits
    of `likeness capture gmpi`, fitted as `likeness invert gmpi` does, against true depth, pose and other views."""
    n_imgs: int = 50_000
    """Pictures (consistency, geometry: the protocol takes 1024; truth: a few, each is fitted)."""
    nplanes: int = 96
    """Planes (the vanilla variant keeps its own number)."""
    truncation_psi: float = 1.0
    """Truncation; 1 for none."""
    truncation_center: TruncationCentre = "mean"
    """What truncation pulls towards."""
    backbone: Path | None = None
    """fid_kid: the published Inception weights (.pth), or a TorchScript network of features; consistency: a
    TorchScript network of ArcFace embeddings. TorchScript networks take pictures in [0, 1]. Without a backbone the
    pictures are written and not measured."""
    faces: Path | None = None
    """geometry: folder of %06d.npz with `depth`, `mask` (224, 224) and `angle` (3,) of a face model."""
    real_truncates: bool = False
    """Round real pictures down as the generated ones are; the protocol rounds them to nearest."""


def evaluate(config: EvaluateConfig) -> None:
    """Write what is missing of the pictures, then the measures that the given backbones allow."""
    avatar = open_avatar(config.run)
    if config.data is not None:
        avatar = replace(avatar, config=replace(avatar.config, data=config.data))
    if config.task == "truth":
        measure_truth(avatar, config.out / "truth", config.n_imgs)
        return
    folder = write_pictures(avatar, config)
    if config.task == "geometry":
        if config.faces is not None:
            measure_geometry(folder, config.faces)
    elif config.backbone is not None:
        embed = load_backbone(config.backbone)
        if config.task == "consistency":
            measure_consistency(folder, embed)
        else:
            real = write_real(avatar, config)
            measure_fid_kid(folder, real, embed)
    print(folder)


def task_folder(config: EvaluateConfig) -> Path:
    """`planes_<P>_n_<N>/psi_<psi>/<task>` under the output folder."""
    return config.out / f"planes_{config.nplanes}_n_{config.n_imgs}" / f"psi_{config.truncation_psi}" / config.task


def write_pictures(avatar: Avatar, config: EvaluateConfig) -> Path:
    """rgb/%06d.png, angle/%06d.npy (pitch, yaw) and, for geometry, depth/%06d.npy (H, W, 1); existing ones stay.

    Picture i depends on i alone: z, noise, then yaw and pitch are drawn right after torch's generator is seeded with i.
    """
    folder = task_folder(config)
    planes = avatar.planes(config.nplanes)
    size = GEOMETRY_SIZE if config.task == "geometry" else avatar.config.resolution
    views = 2 if config.task == "consistency" else 1
    for index in range(config.n_imgs):
        names = [f"{index:06d}_{view}" for view in range(views)] if views == 2 else [f"{index:06d}"]
        if all((folder / "angle" / f"{name}.npy").is_file() for name in names):
            continue
        torch.manual_seed(index)
        z = torch.randn(1, avatar.config.z_dim).to(avatar.device)
        mpi = avatar.mpi(z, planes, psi=config.truncation_psi, centre=config.truncation_center, noise=random_noise())
        for name in names:
            yaw, pitch = avatar.scene.sample_poses(1)
            shown = avatar.view(mpi, planes, yaw, pitch, size)
            write_image(folder / "rgb" / f"{name}.png", shown.image[0].cpu(), synthetic=True, truncate=True)
            if config.task == "geometry":
                save_array(folder / "depth" / f"{name}.npy", shown.depth[0].movedim(0, -1).cpu().numpy())
            # The angle comes last and marks the picture as finished.
            save_array(folder / "angle" / f"{name}.npy", torch.cat([pitch, yaw]).numpy())
    return folder


def write_real(avatar: Avatar, config: EvaluateConfig) -> Path:
    """real_data/<dataset>/<...>_real_res_<R>_n_<N>/00000.png ...: as many as asked for and available."""
    portraits = avatar.config.open()
    count = min(config.n_imgs, len(portraits))
    name = avatar.config.dataset
    folder = config.out / "real_data" / name / f"{name}_real_res_{avatar.config.resolution}_n_{count}"
    missing = [k for k in range(count) if not (folder / f"{k:05d}.png").is_file()]
    if missing:
        pictures = first_pictures(portraits, avatar.config.resolution, count, seed=avatar.config.seed)
        for k in missing:
            path = folder / f"{k:05d}.png"
            write_image(path, pictures[k], synthetic=False, truncate=config.real_truncates)
    return folder


def load_backbone(path: Path) -> Embed:
    """A TorchScript network by path, or the Inception network of published FIDs (`.pth`).

    Raises:
        UserError: it cannot be read.
    """
    if path.suffix == ".pth":
        return inception_features(path)
    try:
        network = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"is no TorchScript network ({str(error).splitlines()[0]})", path=path) from error
    return network


def inception_features(path: Path) -> Embed:
    """Pictures in [0, 1] -> (N, 2048) by the published weights, as torch-fidelity brings bytes to them."""
    network = load_inception(path)

    def embed(image: Tensor) -> Tensor:
        return torch.from_numpy(features(network, [(image * 255).round().to(torch.uint8)]))

    return embed


@torch.no_grad()
def embeddings(folder: Path, embed: Embed) -> Tensor:
    """(N, D) features of the folder's pictures in the order of their names."""
    return torch.cat([embed(read_image(path).unsqueeze(0)) for path in list_images(folder)])


def measure_fid_kid(fake: Path, real: Path, embed: Embed) -> dict[str, str]:
    """Write fid_kid.json (values as strings) and fid_kid.npz beside the generated pictures."""
    one, two = (embeddings(f, embed).numpy() for f in (fake / "rgb", real))
    subset = min(KID_SUBSET, len(one), len(two))
    kid = kernel_distance(one, two, subset_size=subset)
    values: dict[str, Any] = {
        "frechet_inception_distance": frechet_distance(one, two),
        "kernel_inception_distance_mean": kid.mean,
        "kernel_inception_distance_std": kid.deviation,
    }
    texts = {name: str(value) for name, value in values.items()}
    write_text(fake / "fid_kid.json", json.dumps(texts))
    with atomic_path(fake / "fid_kid.npz") as temporary:
        np.savez(temporary, **values, kid_subset=subset, fake=len(one), real=len(two))
    return texts


def measure_consistency(folder: Path, embed: Embed) -> dict[str, float]:
    """all_res.json (similarity of every pair) and aggregated.txt ("mean, std")."""
    pairs = embeddings(folder / "rgb", embed).unflatten(0, (-1, 2))  # (N, 2, D)
    similarity = cosine(pairs[:, 0], pairs[:, 1]).tolist()
    write_text(folder / "all_res.json", json.dumps({f"{k:06d}": value for k, value in enumerate(similarity)}))
    found = {"mean": float(np.mean(similarity)), "std": float(np.std(similarity))}
    write_text(folder / "aggregated.txt", f"{found['mean']}, {found['std']}")
    return found


def measure_geometry(folder: Path, faces: Path) -> dict[str, str]:
    """aggregated.json {depth, depth_std, angle, angle_std} as strings, depth_err.npy and angle_err.npy.

    Pictures without a file in `faces` count as undetected and are left out; their number is told.
    """
    depths, angles = [], []
    pictures = sorted((folder / "depth").glob("*.npy"))
    for path in pictures:
        source = faces / f"{path.stem}.npz"
        if not source.is_file():
            continue
        face = np.load(source, allow_pickle=False)
        rendered = torch.from_numpy(np.load(path)[..., 0])
        reference, mask = (torch.from_numpy(np.asarray(face[key], np.float32)) for key in ("depth", "mask"))
        depths.append(depth_error(rendered, reference, mask).item())
        angle = torch.from_numpy(np.asarray(face["angle"], np.float32)).reshape(1, 3)
        pose = torch.from_numpy(np.load(folder / "angle" / path.name)).reshape(1, 2)
        angles.append(angle_error(angle, pose).item())
    if not depths:
        raise UserError(f"has no %06d.npz for any of {len(pictures)} pictures: run the face model first", path=faces)
    print(f"{len(depths)} of {len(pictures)} pictures with a face")
    found = {
        "depth": str(np.nanmean(depths)),
        "depth_std": str(np.nanstd(depths)),
        "angle": str(np.mean(angles)),
        "angle_std": str(np.std(angles)),
    }
    write_text(folder / "aggregated.json", json.dumps(found))
    save_array(folder / "depth_err.npy", np.array(depths))
    save_array(folder / "angle_err.npy", np.array(angles))
    return found


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` file atomically."""
    with atomic_path(path) as temporary:
        np.save(temporary, array)
