"""`likeness export neural_actor`: the actor's surface as a mesh, or its weights in the published layout."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.formats.actor import read_frames, read_transform
from likeness.media.image import read_image
from likeness.methods.neural_actor.animate import texture_files
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.surface import LEVEL, extract_surface, write_mesh


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write the actor's surface in one pose (.ply, .glb), or its weights as the original names them."""

    run: Path
    """The run of stage renderer."""
    out: Path
    """The file to write: mesh.ply, mesh.glb, or nerf.pt with `--layout original`."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    layout: Literal["mesh", "original"] = "mesh"
    """mesh: marching cubes; original: a checkpoint in the published layout."""
    poses: Path | None = None
    """Folder with transform/*.json; default: the run's data."""
    textures: Path | None = None
    """Folder of texture maps, one a pose, or one picture; default: tex/ of the poses."""
    frame: int = 0
    """Which pose."""
    resolution: int = 128
    """Grid points a side."""
    level: float = LEVEL
    """Density of the surface."""
    device: str = "cpu"
    """Such as cuda."""


def export(config: ExportConfig) -> None:
    """Write one file.

    Raises:
        UserError: no such pose, or no surface.
    """
    avatar = Avatar.from_run(config.run, config.which, config.device)
    if config.layout == "original":
        write_original(avatar, config.out)
        print(config.out)
        return
    frames = read_frames(config.poses or avatar.config.data, maps=config.textures is None)
    if not 0 <= config.frame < len(frames):
        raise UserError(f"there is no pose {config.frame}: the folder has {len(frames)}")
    chosen = frames[config.frame]
    texture = read_image(texture_files(frames, [chosen], config.textures)[0])
    body = avatar.pose(read_transform(chosen.transform))
    mesh = extract_surface(avatar, body, avatar.texture_map(texture), config.resolution, config.level)
    write_mesh(config.out, mesh)
    print(f"{config.out}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces, closed: {mesh.is_watertight}")


def write_original(avatar: Avatar, path: Path) -> None:
    """A dictionary with `args` and `model`; the canonical pose stays in the actor's transform_tpose.json."""
    config = avatar.config
    flags = asdict(config.network) | {
        "arch": "joint_nerf" if config.network.fine_field else "joint_nerf_coarse",
        "fixed_num_samples": config.render.fixed_num_samples,
        "min_dis_eps": config.render.min_dis_eps,
        "discrete_regularization": config.render.discrete_regularization,
        "train_views": config.train_views,
        "valid_views": config.valid_views,
        "view_resolution": "x".join(map(str, config.view_resolution)),
        "additional_deform": "pos" if config.network.additional_deform else None,
    }
    state = {key: value for key, value in avatar.network.state_dict().items() if key != "encoder.canonical_bones"}
    with atomic_path(path) as temporary:
        torch.save({"args": argparse.Namespace(**flags), "model": state}, temporary)
