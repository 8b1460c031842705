"""A look at an entity before hours are spent on it: counts, units, damage, and the mesh drawn over a photograph."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.multiface import (
    Entity,
    open_entity,
    read_frame_list,
    read_krt,
    read_mesh,
    read_picture,
    read_statistics,
    read_topology,
    read_transform,
)
from likeness.media.image import write_image
from likeness.methods.multiface.data import Sample, left_out, projection, select_samples, strangers
from likeness.methods.multiface.model import device_topology
from likeness.methods.multiface.pictures import edges
from likeness.methods.multiface.screen import draw_uv, to_pixels


def check(data: Path, out: Path = Path("check"), every: int = 50) -> dict[str, float]:
    """Print counts, units and damage of an entity, and write the mesh over a photograph to OUT/overlay.png.

    Args:
        data: the entity's folder.
        out: folder of the overlay.
        every: open the mesh, the topology and the pictures of every so-manieth sample.
    """
    entity = open_entity(data)
    records = read_krt(entity.krt)
    statistics = read_statistics(entity)
    listed = read_frame_list(entity.frame_list)
    samples = select_samples(entity, listed, list(records))
    vertices = len(statistics.vert_mean)
    absent = left_out(entity, listed, list(records))
    findings = [*absent, *strangers(entity, list(records)), *damage(entity, samples[::every], vertices)]
    print(f"entity {entity.name}: {len(records)} cameras, {len(listed)} listed frames, {len(samples)} usable views")
    extent = np.ptp(statistics.vert_mean, axis=0)
    print(
        f"mesh: {vertices} vertices, {extent[0]:.0f} x {extent[1]:.0f} x {extent[2]:.0f} (a head in mm is about "
        f"200 x 300 x 250), standard deviation {statistics.vert_var**0.5:.3f} mm"
    )
    print(f"texture: {statistics.tex_mean.shape[1]} px, standard deviation {statistics.tex_var**0.5:.2f} grey levels")
    numbers: dict[str, float] = {
        "cameras": len(records),
        "frames": len(listed),
        "views": len(samples),
        "vertices": vertices,
    }
    if samples:
        found = overlay(entity, samples[0], out / "overlay.png")
        segment, frame, camera = samples[0]
        print(
            f"{segment}/{frame}: camera {camera} is {found['distance_mm']:.0f} mm away, "
            f"{100 * found['inside']:.0f} % of the vertices project into the photograph: {out / 'overlay.png'}"
        )
        numbers |= found
    for finding in findings:
        print(f"! {finding}")
    print("nothing is damaged or missing" if not findings else f"{len(findings)} findings")
    return numbers | {"findings": len(findings)}


def damage(entity: Entity, samples: list[Sample], vertices: int) -> list[str]:
    """Files of `samples` that cannot be used, each with its reason."""
    findings: list[str] = []
    faces = None
    size = None
    for sample in samples:
        try:
            read_mesh(entity.mesh(sample.segment, sample.frame), vertices)
            read_transform(entity.transform(sample.segment, sample.frame))
            picture = read_picture(entity.texture(sample.segment, sample.camera, sample.frame))
            if size not in (None, picture.shape):
                findings.append(f"{sample}: a texture of {picture.shape[:2]}, others have {size[:2]}")
            size = size or picture.shape
            topology = read_topology(entity.topology(sample.segment, sample.frame))
        except UserError as error:
            findings.append(str(error))
            continue
        pairs = np.stack([topology.vert_ids, topology.uv_ids])
        if faces is not None and not np.array_equal(pairs, faces):
            findings.append(f"{sample}: the topology differs from the first frame's; all frames must share one")
        faces = pairs if faces is None else faces
    return findings


def overlay(entity: Entity, sample: Sample, path: Path) -> dict[str, float]:
    """Draw the mesh's edges over the photograph of `sample`; returns camera distance and share of vertices inside."""
    record = read_krt(entity.krt)[sample.camera]
    transform = read_transform(entity.transform(sample.segment, sample.frame))
    verts = torch.from_numpy(read_mesh(entity.mesh(sample.segment, sample.frame)))[None]
    matrix = torch.from_numpy(projection(record, transform))[None]
    topology = device_topology(read_topology(entity.topology(sample.segment, sample.frame)))
    photo = torch.from_numpy(read_picture(entity.photo(sample.segment, sample.camera, sample.frame)).copy())
    picture: Tensor = photo.permute(2, 0, 1).float() / 255
    size = (picture.shape[1], picture.shape[2])
    raster, _ = draw_uv(verts, matrix, topology, size)
    lines = edges(raster.barycentric, raster.mask)[0]
    write_image(path, torch.where(lines, torch.tensor([0.2, 1.0, 0.4])[:, None, None], picture), synthetic=True)
    pixels = to_pixels(verts, matrix)[0]
    inside = (pixels[:, 0] >= 0) & (pixels[:, 0] < size[1]) & (pixels[:, 1] >= 0) & (pixels[:, 1] < size[0])
    return {"distance_mm": float(pixels[:, 2].mean()), "inside": float(inside.float().mean())}
