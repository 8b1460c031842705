"""A small drawn data set: heads that are ellipses with their landmarks, and a network small enough for seconds."""

from pathlib import Path

import numpy as np
import pytest

from likeness.formats import heads
from likeness.methods.bilayer.config import BilayerConfig

SMALL = {
    "image_size": 32, "emb_num_channels": 8, "emb_max_channels": 16, "tex_num_channels": 8, "tex_max_channels": 16,
    "inf_num_channels": 8, "inf_max_channels": 16, "pse_num_channels": 16, "dis_num_channels": 8,
    "dis_max_channels": 16, "dis_num_blocks": 3, "enh_num_channels": 8, "enh_max_channels": 16,
    "enh_bottleneck_tensor_size": 16, "enh_num_blocks": 1, "enh_unrolling_depth": 2, "stickmen_thickness": 1,
}  # fmt: skip


def face(size: int, shift: float, open_mouth: float) -> np.ndarray:
    """68 points that look enough like a face."""
    angles = np.linspace(0, np.pi, 17)
    jaw = np.stack([-np.cos(angles), np.sin(angles)], 1) * [0.7, 0.8]
    brows = [np.stack([np.linspace(c - 0.2, c + 0.2, 5), np.full(5, -0.35)], 1) for c in (-0.35, 0.35)]
    nose = np.stack([np.zeros(4), np.linspace(-0.2, 0.1, 4)], 1)
    base = np.stack([np.linspace(-0.15, 0.15, 5), np.full(5, 0.15)], 1)
    ring = np.linspace(0, 2 * np.pi, 7)[:-1]
    eyes = [np.stack([c + 0.12 * np.cos(ring), -0.2 + 0.06 * np.sin(ring)], 1) for c in (-0.35, 0.35)]
    lips = []
    for count, scale in ((12, 0.25), (8, 0.18)):
        ring = np.linspace(0, 2 * np.pi, count + 1)[:-1]
        lips.append(np.stack([scale * np.cos(ring), 0.45 + (0.05 + open_mouth) * np.sin(ring)], 1))
    points = np.concatenate([jaw, *brows, nose, base, *eyes, *lips]) + [shift, 0]
    return ((points + 1) / 2 * size).astype(np.float32)


def write_head(root: Path, phase: str, name: str, size: int, colour: np.ndarray, shift: float, mouth: float) -> None:
    """Draw one frame and store it."""
    points = face(size, shift, mouth)
    y, x = np.mgrid[:size, :size] + 0.5
    centre = points[:17].mean(0)
    mask = (((x - centre[0]) / (0.42 * size)) ** 2 + ((y - centre[1] + 4) / (0.5 * size)) ** 2 < 1).astype(np.float32)
    image = np.full((3, size, size), 0.2, np.float32) * (1 - mask) + mask * colour[:, None, None]
    lips = points[48:]
    inside = (np.abs(x - lips[:, 0].mean()) < 4) & (np.abs(y - lips[:, 1].mean()) < size * (0.03 + mouth / 2))
    image[:, inside] = np.array([0.6, 0.05, 0.1], np.float32)[:, None]
    heads.write_frame(root, phase, name, image, points, mask[None])


@pytest.fixture
def make_tree():
    def make(root: Path, people=2, clips=1, frames=6, phases=("train", "test"), size=32) -> Path:
        for phase in phases:
            for person in range(people):
                colour = np.random.default_rng(person).uniform(0.3, 0.95, 3).astype(np.float32)
                for clip in range(clips):
                    for frame in range(frames):
                        move = np.random.default_rng([person, clip, frame, len(phase)]).uniform(-1, 1, 2)
                        name = f"id{person}/v0/c{clip}/{frame}"
                        write_head(root, phase, name, size, colour, 0.15 * move[0], 0.05 * (1 + move[1]))
        return root

    return make


@pytest.fixture
def small():
    """The settings of a network of a few thousand parameters."""
    return SMALL


@pytest.fixture
def small_config(small):
    def make(kind=BilayerConfig, **changes):
        defaults = {
            "batch_size": 2,
            "epochs": 2,
            "lr": 1e-3,
            "stats_calc_iters": 10,
            "save_every": 1,
            "validate_every": 1,
            "visuals_every": 1,
            "log_every": 1,
        }
        return kind(**{**small, **defaults, **changes})

    return make
