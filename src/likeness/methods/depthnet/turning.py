"""From a generator to a warp: depths and affines of landmark pairs, rotations, and their units."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from likeness.methods.depthnet.affine import fit_affine
from likeness.methods.depthnet.networks import Prediction

Axis = Literal["x", "y", "z"]
Generator = Callable[[torch.Tensor, torch.Tensor], Prediction]


def predict(generator: Generator, source: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depths (N, 66) and affines (N, 2, 4) that map the source's landmarks onto each target's.

    Args:
        generator: in evaluation mode.
        source: (66, 2) x / width, y / height.
        targets: (N, 66, 2) likewise.
    """
    aims = torch.from_numpy(np.ascontiguousarray(targets)).float()
    xy = torch.from_numpy(np.ascontiguousarray(source)).float().expand(len(aims), -1, -1)
    with torch.no_grad():
        depth, affine = generator(xy, aims)
        affine = fit_affine(xy, depth, aims) if affine is None else affine
    return depth.numpy(), affine.double().numpy()


def pixel_affine(affine: np.ndarray, width: int, height: int, legacy: bool = False) -> np.ndarray:
    """The affine (..., 2, 4) of normalised landmarks for pixels of a width x height picture.

    With u = x / W and v = y / H, W (m1 u + m2 v + m3 z + tx) = m1 x + (m2 W / H) y + (m3 W) z + tx W, and likewise
    for the second row. `legacy` leaves the factors W / H and H / W out, as the original exporter does.
    """
    scale = np.array([[1, width / height, width, width], [height / width, 1, height, height]])
    if legacy:
        scale = np.array([[1, 1, width, width], [1, 1, height, height]])
    return affine * scale


def rotation(axis: Axis, angle: float) -> np.ndarray:
    """(3, 3) float32 rotation by `angle` radians about an axis of the picture (x right, y down, z away)."""
    c, s = np.cos(angle), np.sin(angle)
    matrices = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(matrices[axis], dtype=np.float32)


def sweep(angles: tuple[float, float]) -> np.ndarray:
    """Angles 0 to the first and on to the second, 100 a radian, end points included (the first appears twice)."""
    first, second = angles
    return np.concatenate(
        [np.linspace(0, first, int(100 * abs(first))), np.linspace(first, second, int(100 * abs(second - first)))]
    )


def rotate_landmarks(points: np.ndarray, axis: Axis, angle: float, mean: float, std: float) -> np.ndarray:
    """Landmarks (66, 3) turned by `angle`: x and y about `mean` in units of `std`, z as it is; returns x, y (66, 2)."""
    centred = np.concatenate([(points[:, :2] - mean) / std, points[:, 2:]], axis=1)
    return (centred @ rotation(axis, angle).T)[:, :2] * std + mean


def rotate_source_affine(axis: Axis, angle: float, std: float) -> np.ndarray:
    """(2, 4) normalised affine that turns the source itself about the picture's top left corner.

    The first two rows of S(1/std) R S(std) without translation: depth enters in units of `std`.
    """
    turn = rotation(axis, angle).astype(np.float64)
    return np.array([[turn[0, 0], turn[0, 1], turn[0, 2] / std, 0], [turn[1, 0], turn[1, 1], turn[1, 2] / std, 0]])


def turn_about(axis: Axis, angle: float, pivot: np.ndarray) -> np.ndarray:
    """(2, 4) normalised affine that turns (x, y, depth) about `pivot` (3,), all in one unit of length."""
    turn = rotation(axis, angle).astype(np.float64)
    return np.concatenate([turn[:2], (pivot[:2] - turn[:2] @ pivot)[:, None]], axis=1)


def scale_depth(depth: np.ndarray, factor: float) -> np.ndarray:
    """Depths (66,) divided by a positive factor, or brought to [0, 1] by 0 (a constant column becomes 0).

    Raises:
        ValueError: a negative factor.
    """
    if factor < 0:
        raise ValueError("scale_depth must be >= 0")
    if factor > 0:
        return depth / factor
    spread = depth.max() - depth.min()
    return (depth - depth.min()) / spread if spread > 0 else np.zeros_like(depth)
