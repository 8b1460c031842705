"""Decoded frames as meshes that other programs open, and checkpoints in the original's format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image

from likeness.errors import UserError
from likeness.files import atomic_path, write_text
from likeness.formats.multiface import Topology, open_entity, write_obj, write_picture
from likeness.media.image import to_uint8
from likeness.methods.multiface.animate import encode_frame, list_frames
from likeness.methods.multiface.data import view_direction
from likeness.methods.multiface.model import MultifaceAvatar
from likeness.methods.multiface.pictures import display_curve
from likeness.methods.multiface.published import export_original


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write decoded frames as meshes, or a checkpoint as the original's weight file."""

    run: Path
    """The run of the avatar."""
    out: Path
    """Folder of the files (for --layout original the .pth file)."""
    which: str = "last"
    """Checkpoint: `last`, `best` or a tag."""
    to: Literal["glb", "obj", "ply"] = "glb"
    """glTF with its texture, OBJ with material and texture, or PLY with a colour for each vertex."""
    layout: Literal["original"] | None = None
    """`original` writes the weights as published ones are, with the prefix `module.`."""
    segment: str | None = None
    """The segment whose frames are decoded; default the first of the frame list."""
    frame: str | None = None
    """One frame of it; default all of them."""
    camera: str | None = None
    """The view whose texture is decoded; default the first of the avatar's cameras."""
    raw_colours: bool = False
    """Leave out the display curve."""


def export(config: ExportConfig) -> list[Path]:
    """Write what `config` asks for; returns the files."""
    if config.layout == "original":
        export_original(config.run, config.out, config.which)
        print(f"{config.out} is written")
        return [config.out]
    model = MultifaceAvatar.from_run(config.run, config.which).folded()
    entity = open_entity(model.config.data_dir)
    frames = [pair for pair in list_frames(entity, config.segment) if config.frame in (None, pair[1])]
    if not frames:
        raise UserError(f"frame {config.frame} is not among the exported frames", path=entity.frame_list)
    camera = config.camera or model.template.trained[0]
    if camera not in model.template.records:
        raise UserError(f"there is no camera {camera!r}: choose one of {', '.join(model.template.records)}")
    record, rows = model.template.records[camera], model.template.trained
    row = torch.tensor([rows.index(camera)]) if camera in rows else None
    view = torch.from_numpy(view_direction(record, model.template.transform))[None]
    written = []
    for segment, frame in frames:
        texture, verts = model.decode(encode_frame(model, entity, segment, frame), view, row)
        shown = texture if config.raw_colours else display_curve(texture)
        picture = to_uint8(shown[0].flip(1).clamp(0, 1))
        path = config.out / f"{segment}_{frame}.{config.to}"
        write_mesh_file(path, verts[0].numpy(), picture, model.template.topology)
        written.append(path)
    print(f"{len(written)} files are written to {config.out}")
    return written


def write_mesh_file(path: Path, verts: NDArray, texture: NDArray[np.uint8], topology: Topology) -> None:
    """Write verts (V, 3) in mm with a texture picture (S, S, 3), row 0 on top, by the suffix of `path`.

    glTF counts in metres with y up: vertices are scaled; the head's frame has y up already.
    """
    if path.suffix == ".obj":
        write_picture(path.with_suffix(".png"), texture)
        write_text(path.with_suffix(".mtl"), f"newmtl face\nKd 1 1 1\nmap_Kd {path.stem}.png\n")
        write_obj(path, verts, topology, material=path.with_suffix(".mtl").name)
        return
    pairs = np.stack([topology.vert_ids, topology.uv_ids], axis=-1).reshape(-1, 2)
    corners, faces = np.unique(pairs, axis=0, return_inverse=True)
    uv = topology.uvs[corners[:, 1]]
    points, faces = verts[corners[:, 0]], faces.reshape(-1, 3)
    if path.suffix == ".glb":
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=Image.fromarray(texture), metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
        )
        visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
        mesh = trimesh.Trimesh(points / 1000, faces, visual=visual, process=False)
    else:
        size = texture.shape[0]
        columns = np.clip(uv[:, 0] * size, 0, size - 1).astype(int)
        rows = np.clip((1 - uv[:, 1]) * size, 0, size - 1).astype(int)
        mesh = trimesh.Trimesh(points, faces, vertex_colors=texture[rows, columns], process=False)
    with atomic_path(path) as temporary:
        mesh.export(temporary)
