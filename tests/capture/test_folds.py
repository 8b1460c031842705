"""Folds: what a pose adds to surface and colour beyond skinning, and how the studio photographs it."""

import numpy as np
import pytest
import torch

from likeness.capture.assets import load_assets
from likeness.capture.body import vertex_normals
from likeness.capture.folds import HEIGHT, folded, folds
from likeness.capture.light import studio
from likeness.capture.neural_actor import NeuralActorCapture, capture_neural_actor
from likeness.capture.performance import Performance
from likeness.capture.person import make_person
from likeness.capture.stage import body_camera, take
from likeness.formats import actor
from likeness.geometry.body import posed_vertices
from likeness.media.image import read_image


@pytest.fixture(scope="module")
def person(cache_of_the_tests):
    return make_person(3)


def bent(angle: float) -> Performance:
    return Performance(pose={"lowerarm_l": np.array([-angle, 0.0, 0.0])})


def test_folds_grow_with_the_angle_around_the_bent_joint_alone(person):
    elbow = person.skeleton.joints[[name == "lowerarm_l" for name in load_assets().bones]][0]
    away = np.linalg.norm(person.vertices - elbow, axis=1)
    lifts = [folds(person, bent(angle)).lift for angle in (0.0, 0.5, 1.0)]
    assert lifts[0].max() == 0
    assert 0 < lifts[1].max() < lifts[2].max() <= HEIGHT
    assert lifts[2][away > 0.5].max() < 1e-4
    assert (lifts[2] >= 0).all()


def test_valleys_are_darker_and_straight_limbs_are_left_alone(person):
    normals = vertex_normals(person.vertices)
    straight, full = (folded(person, bent(angle), normals) for angle in (0.0, 1.0))
    assert np.array_equal(straight.texture, person.texture) and np.array_equal(straight.vertices, person.vertices)
    assert (full.texture.astype(int) <= person.texture.astype(int) + 1).all()
    assert (full.texture < person.texture).any()


def test_white_behind_a_keyed_body_takes_no_more_of_its_edge_than_it_covers(person):
    camera = body_camera(person, (96, 96))
    light = studio(noise=0.0)
    frame = take(person, Performance(), camera, light, keyed=True)
    half = (frame.alpha[0] > 0.4) & (frame.alpha[0] < 0.6)
    assert (frame.image[:, frame.alpha[0] == 0].amin(0) > 0.8).all()
    assert half.any() and (frame.image[:, half].amin(0) < 0.95).float().mean() > 0.9


def test_the_mesh_files_stay_smooth_and_the_true_surface_lies_within_two_centimetres(tmp_path, cache_of_the_tests):
    capture_neural_actor(
        NeuralActorCapture(out=tmp_path, seed=3, frames=3, test_frames=1, cameras=1, size=64, texture=128)
    )
    folder = tmp_path / "training"
    body, frames = actor.read_body(folder), actor.read_frames(folder)
    lifts = []
    for frame in frames:
        smooth = posed_vertices(body, actor.read_transform(frame.transform))
        true = torch.from_numpy(np.load(folder / "surface" / f"{frame.transform.stem}.npz")["vertices"])
        lifts.append((true - smooth).norm(dim=-1))
    assert 0.005 < torch.stack(lifts).max() <= 0.02
    textures = [read_image(frame.texture) for frame in frames if frame.texture]
    assert (textures[0] - textures[2]).abs().mean() > 0.005
