"""Portrait collections as batches of both stages."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likeness.engine import IndexedBatches, permutation, sample
from likeness.formats.portraits import Portraits, PoseLabel
from likeness.methods.gmpi.scene import Scene, angles_of, deep3d_to_world, eg3d_to_world, onto_sphere


@dataclass(frozen=True)
class PortraitBatch:
    """Pictures with their cameras."""

    image: Tensor = sample()
    """(N, 3, R, R) in [-1, 1]."""
    pose: Tensor = sample()
    """(N, 16) world-to-camera matrix, row by row."""


def world_to_camera(labels: list[PoseLabel], scene: Scene) -> Tensor:
    """(N, 4, 4) matrices of pose labels of one kind, moved onto the cameras' sphere."""
    if labels[0].camera_to_world is not None:
        matrices = torch.from_numpy(np.stack([label.camera_to_world for label in labels]))  # type: ignore[misc]
        return onto_sphere(eg3d_to_world(matrices, scene.radius), scene.radius)
    angle = torch.from_numpy(np.stack([label.angle for label in labels]).astype(np.float32))  # type: ignore[misc]
    trans = torch.from_numpy(np.stack([label.trans for label in labels]).astype(np.float32))  # type: ignore[misc]
    return onto_sphere(deep3d_to_world(angle, trans, scene.radius), scene.radius)


def pose_of(label: PoseLabel, scene: Scene) -> tuple[float, float]:
    """Yaw and pitch in radians of the camera that a label means."""
    matrix = world_to_camera([label], scene)[0]
    yaw, pitch = angles_of(-(matrix[:3, :3].T @ matrix[:3, 3])[None], scene.radius)
    return float(yaw), float(pitch)


def portrait_batches(
    portraits: Portraits,
    scene: Scene,
    resolution: int,
    *,
    batch_size: int,
    seed: int,
    mirror: bool,
    rank: int,
    world: int,
) -> IndexedBatches[PortraitBatch]:
    """Shuffled full batches. With `mirror` every picture appears mirrored too, and poses are not read."""

    def fetch(indices: np.ndarray) -> PortraitBatch:
        pictures = []
        for index in indices:
            picture = portraits.image(int(index) % len(portraits), resolution)
            pictures.append(picture[:, ::-1] if index >= len(portraits) else picture)
        image = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 127.5 - 1
        if mirror:
            return PortraitBatch(image, torch.zeros(len(indices), 16))
        poses = world_to_camera([portraits.pose(int(index)) for index in indices], scene)
        return PortraitBatch(image, poses.flatten(1))

    size = len(portraits) * (2 if mirror else 1)
    return IndexedBatches(size, min(batch_size, size), fetch, seed=seed, drop_last=True, rank=rank, world=world)


def first_pictures(portraits: Portraits, resolution: int, count: int, seed: int) -> Tensor:
    """(N, 3, R, R) in [0, 1]: up to `count` pictures in a fixed shuffled order."""
    order = permutation(len(portraits), seed)[:count]
    stack = np.stack([portraits.image(int(index), resolution) for index in order])
    return torch.from_numpy(stack).movedim(-1, 1).float() / 255
