"""Triangle meshes: Wavefront OBJ files, normals, the Laplacian."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.files import write_text


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh, texture coordinates with corners of their own."""

    vertices: Tensor
    """(V, 3) float32."""
    triangles: Tensor
    """(T, 3) int64 indices into `vertices`."""
    uv: Tensor | None = None
    """(VT, 2) float32 texture coordinates; in OBJ files v points up."""
    uv_triangles: Tensor | None = None
    """(T, 3) int64 indices into `uv`, triangle for triangle those of `triangles`."""


def read_obj(path: str | Path) -> Mesh:
    """Read `v`, `vt` and `f` of a Wavefront OBJ; polygons become fans of triangles, other statements are passed over.

    Texture corners are kept when every face has them. Negative indices count back from the latest, as the format says.

    Raises:
        UserError: the file is absent, a line cannot be read, or a face names a vertex that is not there.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror}): expected a Wavefront OBJ file", path=path) from error
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    uv_triangles: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "v":
                vertices.append([float(words[1]), float(words[2]), float(words[3])])
            elif words[0] == "vt":
                uv.append([float(words[1]), float(words[2])])
            elif words[0] == "f":
                corners = [word.split("/") for word in words[1:]]
                _add_fan(triangles, [_index(corner[0], len(vertices), "vertex") for corner in corners])
                if all(len(corner) > 1 and corner[1] for corner in corners):
                    _add_fan(uv_triangles, [_index(corner[1], len(uv), "texture corner") for corner in corners])
        except (ValueError, IndexError) as error:
            raise UserError(
                f"line {number} ({line.strip()[:60]!r}) cannot be read ({error}): expected 'v x y z', 'vt u v' or "
                f"'f a/b a/b a/b' with indices from 1",
                path=path,
            ) from error
    textured = bool(triangles) and len(uv_triangles) == len(triangles)
    return Mesh(
        torch.from_numpy(np.array(vertices, np.float32).reshape(-1, 3)),
        torch.from_numpy(np.array(triangles, np.int64).reshape(-1, 3)),
        torch.from_numpy(np.array(uv, np.float32).reshape(-1, 2)) if textured else None,
        torch.from_numpy(np.array(uv_triangles, np.int64).reshape(-1, 3)) if textured else None,
    )


def write_obj(path: str | Path, mesh: Mesh) -> None:
    """Write `mesh` as a Wavefront OBJ, atomically; float32 values come back unchanged.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.vertices.tolist()]
    corners = (mesh.triangles + 1).tolist()
    if mesh.uv is None or mesh.uv_triangles is None:
        lines += [f"f {a} {b} {c}" for a, b, c in corners]
    else:
        lines += [f"vt {u:.9g} {v:.9g}" for u, v in mesh.uv.tolist()]
        pairs = zip(corners, (mesh.uv_triangles + 1).tolist(), strict=True)
        lines += [f"f {a}/{i} {b}/{j} {c}/{k}" for (a, b, c), (i, j, k) in pairs]
    write_text(path, "\n".join(lines) + "\n")


def quads_to_triangles(quads: Tensor) -> Tensor:
    """Quads (Q, 4) as triangles (2 Q, 3): corners 0 1 2 and 0 2 3 of each, one after the other."""
    return quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


def face_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Normals (..., T, 3) of the triangles, as long as twice their area; outward when corners run counter-clockwise.

    Args:
        vertices: (..., V, 3).
        triangles: (T, 3).
    """
    a, b, c = (vertices[..., triangles[:, k], :] for k in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals (..., V, 3): the mean of the neighbouring triangles' by area; 0 at vertices without a triangle.

    Args:
        vertices: (..., V, 3).
        triangles: (T, 3).
    """
    faces = face_normals(vertices, triangles)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(-2, triangles[:, k], faces)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-20)


def laplacian(triangles: Tensor, count: int) -> Tensor:
    """The uniform Laplacian (V, V), sparse: (L x)_i is x_i minus the mean of its neighbours; 0 for lone vertices.

    Args:
        triangles: (T, 3).
        count: V, the number of vertices.
    """
    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)]).unique(dim=0)
    degree = torch.bincount(edges[:, 0], minlength=count)
    used = degree.nonzero().squeeze(1)
    indices = torch.cat([edges.T, torch.stack([used, used])], dim=1)
    values = torch.cat([-1.0 / degree[edges[:, 0]], torch.ones(len(used), device=triangles.device)])
    return torch.sparse_coo_tensor(indices, values, (count, count)).coalesce()


def _add_fan(triangles: list[tuple[int, int, int]], corners: list[int]) -> None:
    if len(corners) < 3:
        raise ValueError(f"a face of {len(corners)} corners")
    triangles.extend((corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1))


def _index(word: str, count: int, what: str) -> int:
    value = int(word)
    index = value - 1 if value > 0 else count + value
    if value == 0 or not 0 <= index < count:
        raise ValueError(f"{what} {value} of {count}")
    return index
