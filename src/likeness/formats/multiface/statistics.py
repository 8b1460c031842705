"""Means and variances that normalise an entity's meshes and textures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.multiface.entity import Entity
from likeness.formats.multiface.meshes import read_mesh, write_mesh
from likeness.formats.multiface.pictures import read_picture, write_picture
from likeness.formats.multiface.text import file_text, numbers


@dataclass(frozen=True)
class Statistics:
    """Normalisation of one entity.

    tex_mean (H, W, 3) uint8 with row 0 on top; tex_var in grey levels squared; vert_mean (V, 3) float32 mm in the
    head's frame; vert_var in mm^2.
    """

    tex_mean: NDArray[np.uint8]
    tex_var: float
    vert_mean: NDArray[np.float32]
    vert_var: float


def read_statistics(entity: Entity) -> Statistics:
    """The entity's means and variances.

    Raises:
        UserError: a file is absent, holds no number, or a variance is not positive.
    """
    return Statistics(
        tex_mean=read_picture(entity.root / "tex_mean.png"),
        tex_var=_variance(entity.root / "tex_var.txt", "texture"),
        vert_mean=read_mesh(entity.root / "vert_mean.bin"),
        vert_var=_variance(entity.root / "vert_var.txt", "vertex"),
    )


def write_statistics(entity: Entity, statistics: Statistics) -> None:
    """Write the four files of `statistics`."""
    write_picture(entity.root / "tex_mean.png", statistics.tex_mean)
    write_text(entity.root / "tex_var.txt", f"{statistics.tex_var:.9g}\n")
    write_mesh(entity.root / "vert_mean.bin", statistics.vert_mean)
    write_text(entity.root / "vert_var.txt", f"{statistics.vert_var:.9g}\n")


@dataclass
class StatisticsAccumulator:
    """Means and scalar variances over frames that are added one by one (average textures, head-frame vertices)."""

    count: int = 0
    _texture: NDArray = field(default_factory=lambda: np.zeros(1))
    _texture_square: float = 0.0
    _verts: NDArray = field(default_factory=lambda: np.zeros(1))
    _verts_square: float = 0.0

    def add(self, average_texture: NDArray[np.uint8], verts: NDArray) -> None:
        """Add one frame: its mean texture (H, W, 3) and its vertices (V, 3), mm in the head's frame."""
        texture, points = average_texture.astype(np.float64), np.asarray(verts, np.float64)
        self.count += 1
        self._texture = self._texture + texture
        self._texture_square += float(np.square(texture).mean())
        self._verts = self._verts + points
        self._verts_square += float(np.square(points).mean())

    def result(self) -> Statistics:
        """The statistics of what was added; a variance of 0 (one frame, a still head) becomes 1."""
        texture, verts = self._texture / self.count, self._verts / self.count
        tex_var = self._texture_square / self.count - float(np.square(texture).mean())
        vert_var = self._verts_square / self.count - float(np.square(verts).mean())
        return Statistics(
            tex_mean=np.clip(np.rint(texture), 0, 255).astype(np.uint8),
            tex_var=tex_var if tex_var > 1e-6 else 1.0,
            vert_mean=verts.astype(np.float32),
            vert_var=vert_var if vert_var > 1e-9 else 1.0,
        )


def _variance(path: Path, what: str) -> float:
    values = numbers(file_text(path, f"the {what} variance"))
    if len(values) != 1 or not np.isfinite(values[0]) or values[0] <= 0:
        raise UserError(
            f"expected one positive number, the {what} variance, found {values}: nothing can be divided by it; "
            "fetch metadata again, or compute it anew from the frames",
            path=path,
        )
    return values[0]
