"""`likeness export neural_actor`: the actor's surface as a mesh, or a run under the originals' names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from likeness.errors import UserError
from likeness.formats.actor import read_frames, read_transform
from likeness.media.image import read_image
from likeness.methods.neural_actor.animate import texture_files
from likeness.methods.neural_actor.avatar import Avatar
from likeness.methods.neural_actor.export_original import export_original
from likeness.methods.neural_actor.surface import LEVEL, extract_surface, write_mesh


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write the actor's surface in one pose (.ply, .glb), or a run of either stage as its original would have."""

    run: Path
    """The run; a mesh needs stage renderer."""
    out: Path
    """The file to write: mesh.ply, mesh.glb; with `--layout original` nerf.pt, or a folder for checkpoints and logs."""
    which: str | None = None
    """Checkpoint: `last`, `best` or a tag; default the last, for a folder all that were kept."""
    layout: Literal["mesh", "original"] = "mesh"
    """mesh: marching cubes; original: checkpoints, JSON log and TensorBoard folders in the published layout."""
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
    if config.layout == "original":
        export_original(config.run, config.out, config.which)
        return
    avatar = Avatar.from_run(config.run, config.which or "last", config.device)
    frames = read_frames(config.poses or avatar.config.data, maps=config.textures is None)
    if not 0 <= config.frame < len(frames):
        raise UserError(f"there is no pose {config.frame}: the folder has {len(frames)}")
    chosen = frames[config.frame]
    texture = read_image(texture_files(frames, [chosen], config.textures)[0])
    body = avatar.pose(read_transform(chosen.transform))
    mesh = extract_surface(avatar, body, avatar.texture_map(texture), config.resolution, config.level)
    write_mesh(config.out, mesh)
    print(f"{config.out}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces, closed: {mesh.is_watertight}")
