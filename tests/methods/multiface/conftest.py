"""A tiny capture and a run trained on it for a few steps."""

import dataclasses

import numpy as np
import pytest

from likeness.engine import train
from likeness.formats import multiface as mf
from likeness.methods.multiface.config import PRESETS
from likeness.methods.multiface.method import AvatarStage

SIZE = (48, 36)
SEGMENTS = {"E001_Neutral": 4, "E061_Lips_Puffed": 2, "SEN_one": 3}
CAMERAS = ("400002", "400013", "400041")


def sphere():
    """A round head of 86 vertices with seams in its texture coordinates."""
    rows, columns = 8, 12
    lat = np.linspace(0.05, np.pi - 0.05, rows)
    lon = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    verts = np.array([[np.sin(a) * np.sin(b), np.cos(a), np.sin(a) * np.cos(b)] for a in lat for b in lon]) * 100
    uvs = np.array([[b / columns, 1 - a / (rows - 1)] for a in range(rows) for b in range(columns + 1)])
    faces, uv_faces = [], []
    for a in range(rows - 1):
        for b in range(columns):
            quad = [(a, b), (a + 1, b), (a + 1, b + 1), (a, b + 1)]
            v = [i * columns + j % columns for i, j in quad]
            t = [i * (columns + 1) + j for i, j in quad]
            faces += [[v[0], v[1], v[2]], [v[0], v[2], v[3]]]
            uv_faces += [[t[0], t[1], t[2]], [t[0], t[2], t[3]]]
    return verts, mf.Topology(uvs.astype(np.float32), np.array(faces, np.int32), np.array(uv_faces, np.int32))


def make_capture(root, seed=0):
    """A capture of three cameras and three segments in the published layout."""
    generator = np.random.default_rng(seed)
    entity = mf.Entity(root)
    verts, topology = sphere()
    records = {}
    for index, name in enumerate(CAMERAS):
        angle = (index - 1) * 0.5
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[c, 0, -s], [0, -1, 0], [-s, 0, -c]])
        records[name] = mf.CameraRecord(
            np.array([[180.0, 0, SIZE[1] / 2], [0, 180.0, SIZE[0] / 2], [0, 0, 1]]),
            np.zeros(5),
            np.concatenate([rotation, [[0], [0], [1000.0]]], axis=1),
        )
    mf.write_krt(entity.krt, records)
    sums = mf.StatisticsAccumulator()
    pairs = []
    ramp = np.linspace(60, 200, 32)
    for segment, count in SEGMENTS.items():
        for index in range(count):
            frame = f"{100 + 3 * index:06d}"
            pairs.append((segment, frame))
            moved = verts * (1 + 0.05 * index) + generator.normal(size=3)
            base = np.stack(
                [np.tile(ramp, (32, 1)), np.tile(ramp[:, None], (1, 32)), np.full((32, 32), 90 + 20 * index)], -1
            )
            textures = {
                name: np.clip(base + 8 * k + generator.normal(size=base.shape), 1, 255).astype(np.uint8)
                for k, name in enumerate(CAMERAS)
            }
            average = np.mean(list(textures.values()), axis=0).astype(np.uint8)
            photos = {name: generator.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for name in CAMERAS}
            mf.write_frame(
                entity, segment, frame, verts=moved, transform=np.eye(3, 4), topology=topology,
                textures=textures, average=average, photos=photos,
            )  # fmt: skip
            sums.add(average, moved)
    mf.write_frame_list(entity.frame_list, pairs)
    mf.write_statistics(entity, sums.result())
    return entity


@pytest.fixture(scope="session")
def small_capture(tmp_path_factory):
    return make_capture(tmp_path_factory.mktemp("data") / "m--20000101--0000--42--GHS")


@pytest.fixture(scope="session")
def small_config(small_capture, tmp_path_factory):
    return dataclasses.replace(
        PRESETS["tiny"],
        experiment_dir=tmp_path_factory.mktemp("experiment"),
        data_dir=small_capture.root,
        test_segments=("E061",),
        resolution=SIZE,
        latent=16,
        epochs=2,
        accelerator="cpu",
    )


@pytest.fixture(scope="session")
def small_run(small_config):
    return train(AvatarStage, small_config, method="multiface", stage="avatar", argv=["likeness"]).folder
