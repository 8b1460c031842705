"""Meshes: vertices in the head's frame, head poses, the topology."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likeness.errors import UserError
from likeness.files import write_bytes, write_text
from likeness.formats.multiface.text import file_bytes, file_text, numbers

_FACE = re.compile(r"^(\d+)/(\d+)(?:/\d*)?$")


@dataclass(frozen=True)
class Topology:
    """Triangles of the tracked mesh: uvs (VT, 2) float32 with v upwards, vert_ids and uv_ids (T, 3) int32 from 0."""

    uvs: NDArray[np.float32]
    vert_ids: NDArray[np.int32]
    uv_ids: NDArray[np.int32]


def read_mesh(path: str | Path, vertices: int | None = None) -> NDArray[np.float32]:
    """Vertices (V, 3) in the head's frame, mm, of a `.bin` file: raw little-endian float32.

    Raises:
        UserError: the length is no multiple of 12 bytes, or not that of `vertices` vertices.
    """
    path = Path(path)
    raw = file_bytes(path, "the mesh")
    expected = len(raw) % 12 == 0 and len(raw) > 0 if vertices is None else len(raw) == 12 * vertices
    if not expected:
        wanted = "a multiple of 12" if vertices is None else f"{12 * vertices} ({vertices} vertices x 3 float32)"
        raise UserError(
            f"{len(raw)} bytes, expected {wanted}: the file is cut or its topology is another one than the entity's "
            "mean mesh (vert_mean.bin); fetch tracked_mesh again, or leave this frame out of the frame list",
            path=path,
        )
    return np.frombuffer(raw, dtype="<f4").reshape(-1, 3).astype(np.float32)


def write_mesh(path: str | Path, verts: NDArray) -> None:
    """Write vertices (V, 3), mm in the head's frame, as raw little-endian float32."""
    write_bytes(path, np.ascontiguousarray(verts, dtype="<f4").tobytes())


def read_transform(path: str | Path) -> NDArray[np.float32]:
    """Head-to-world matrix [R | t] (3, 4), mm."""
    path = Path(path)
    rows = [numbers(line) for line in file_text(path, "the head pose").splitlines() if line.strip()]
    if [len(row) for row in rows] != [4, 4, 4]:
        raise UserError(f"expected 3 rows of 4 numbers, found rows of {[len(row) for row in rows]}", path=path)
    return np.array(rows, dtype=np.float32)


def write_transform(path: str | Path, transform: NDArray) -> None:
    """Write a head-to-world matrix (3, 4), mm."""
    write_text(path, "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in np.asarray(transform)))


def read_topology(path: str | Path) -> Topology:
    """Texture coordinates and triangles of an `.obj`; its vertex positions are in world coordinates and not used.

    Raises:
        UserError: a face is no triangle, has no texture index, or an index is outside its list.
    """
    path = Path(path)
    vertices, uvs, corners = 0, [], []
    for number, line in enumerate(file_text(path, "the topology").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if fields[0] == "v":
            vertices += 1
        elif fields[0] == "vt":
            uvs.append([float(value) for value in fields[1:3]])
        elif fields[0] == "f":
            matches = [_FACE.match(corner) for corner in fields[1:]]
            if len(matches) != 3 or not all(matches):
                raise UserError(f"line {number}: expected a triangle `f v/vt v/vt v/vt`, found {line!r}", path=path)
            corners.append([[int(m[1]) - 1, int(m[2]) - 1] for m in matches if m])
    if not corners:
        raise UserError("no triangles found", path=path)
    faces = np.array(corners, dtype=np.int32)
    if faces[..., 0].max() >= vertices or faces[..., 1].max() >= len(uvs) or faces.min() < 0:
        raise UserError(
            f"a face names vertex {faces[..., 0].max() + 1} of {vertices} or texture coordinate "
            f"{faces[..., 1].max() + 1} of {len(uvs)}: the file is cut",
            path=path,
        )
    return Topology(np.array(uvs, np.float32), faces[..., 0].copy(), faces[..., 1].copy())


def write_obj(path: str | Path, verts: NDArray, topology: Topology, material: str | None = None) -> None:
    """Write a Wavefront mesh: verts (V, 3), the topology's texture coordinates and triangles.

    `material` is the name of an `.mtl` file beside it whose material `face` is used.
    """
    lines = [f"mtllib {material}", "usemtl face"] if material else []
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in np.asarray(verts, dtype=float)]
    lines += [f"vt {u:.7g} {v:.7g}" for u, v in topology.uvs.astype(float)]
    pairs = np.stack([topology.vert_ids, topology.uv_ids], axis=-1) + 1
    lines += ["f " + " ".join(f"{v}/{t}" for v, t in corners) for corners in pairs]
    write_text(path, "\n".join(lines) + "\n")
