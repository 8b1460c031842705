"""From landmarks to depths and affines, and from units of the picture to its pixels."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from likeness.methods.depthnet.affine import fit_affine

Axis = Literal["x", "y", "z"]


class DepthModel(Protocol):
    """A DepthNet generator in evaluation mode, or anything that answers like one."""

    def __call__(self, source_xy: Tensor, target_xy: Tensor) -> tuple[Tensor, Tensor | None]:
        """Depth (N, 66) and perhaps the affine (N, 2, 4) of landmarks (N, 66, 2) in units of their pictures."""


@dataclass(frozen=True)
class Match:
    """Depth of source landmarks and the affines that take them to targets, in units of the pictures."""

    depth: np.ndarray
    """(N, 66) float64."""
    affine: np.ndarray
    """(N, 2, 4) float64."""


def match(model: DepthModel, source_xy: np.ndarray, target_xy: np.ndarray) -> Match:
    """Depths of `source_xy` (66, 2) and affines towards each of `target_xy` (N, 66, 2), in units of their pictures."""
    targets = torch.tensor(target_xy, dtype=torch.float32)
    sources = torch.tensor(source_xy, dtype=torch.float32).expand(len(targets), -1, -1)
    with torch.inference_mode():
        depth, affine = model(sources, targets)
        if affine is None:
            affine = fit_affine(sources, depth, targets)
    return Match(depth.double().numpy(), affine.double().numpy())


def rotation(axis: Axis, angle: float) -> np.ndarray:
    """(3, 3) float32 right-handed rotation by `angle` radians about an axis (x right, y down, z away)."""
    c, s = np.cos(angle), np.sin(angle)
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis], np.float32)


def sweep(first: float, second: float) -> np.ndarray:
    """Angles from 0 to `first`, then from `first` to `second`: int(100 |difference|) each, ends included."""
    return np.concatenate(
        [np.linspace(0, first, int(100 * abs(first))), np.linspace(first, second, int(100 * abs(second - first)))]
    )


def affine_to_pixels(affine: np.ndarray, size: tuple[int, int], legacy: bool = False) -> np.ndarray:
    """Affine (..., 2, 4) in units of a picture -> in its pixels, depth unscaled.

    Args:
        size: (height, width) of the canvas that both landmarks and result are measured on.
        legacy: leave m2 and m4 unscaled, as the original does; the same for squares.
    """
    height, width = size
    factors = np.array([[1, width / height, width, width], [height / width, 1, height, height]], dtype=np.float64)
    if legacy:
        factors[0, 1] = factors[1, 0] = 1
    return affine * factors


def rotated_targets(
    points: np.ndarray, rotations: np.ndarray, size: tuple[int, int], mean: float = 0.5, std: float = 0.5
) -> np.ndarray:
    """Landmarks (N, 66, 2) of a face (66, 3) turned about (`mean`, `mean`), in units of the picture.

    x and y are divided by `std` beside the depth. In pictures that are not square they are measured in the mean of
    width and height first, so that the turn is rigid.
    """
    height, width = size
    aspect = 2 * np.array([width, height]) / (width + height)
    solid = np.concatenate([(points[:, :2] - mean) * aspect / std, points[:, 2:]], axis=1)
    turned = solid @ rotations.transpose(0, 2, 1)
    return turned[..., :2] * std / aspect + mean


def rotation_affine(
    rotation: np.ndarray, size: tuple[int, int], std: float = 0.5, pivot: np.ndarray | None = None
) -> np.ndarray:
    """The (2, 4) affine in pixels that turns a face itself by `rotation` (3, 3), depth in units of the picture / `std`.

    Args:
        pivot: (3,) x, y in pixels and depth of the point that stays; None turns about the picture's top-left corner,
            as the original does.
    """
    unit = (size[0] + size[1]) / 2
    linear = rotation[:2].astype(np.float64) * np.array([1, 1, unit / std])
    shift = np.zeros(2) if pivot is None else pivot[:2] - linear @ pivot
    return np.concatenate([linear, shift[:, None]], axis=1)
