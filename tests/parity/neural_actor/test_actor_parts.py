"""Encodings, skinning, surface frames, bounds and samples against recorded numbers."""

import numpy as np
import pytest
import torch

from likeness.geometry.body import Pose
from likeness.geometry.skinning import blend_transforms, skin
from likeness.methods.neural_actor import body, rays, sampling
from likeness.methods.neural_actor.encodings import encode, frequencies
from likeness.render.balls import ball_bounds


def load(parity_dir, name):
    with np.load(parity_dir / "neural_actor" / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def tensor(array):
    return torch.from_numpy(np.asarray(array))


@pytest.mark.parametrize(
    ("name", "levels", "times_pi", "kind"),
    [
        ("basic6_pi_cat", 6, True, "b"),
        ("basic6_nopi_cat", 6, False, "b"),
        ("basic4_pi_cat", 4, True, "b"),
        ("angular4", 4, False, "a"),
    ],
)
def test_NA7_encodings(parity_dir, name, levels, times_pi, kind):
    recorded = load(parity_dir, "posenc")
    ours = encode(tensor(recorded["x"]), frequencies(levels, times_pi), kind)
    torch.testing.assert_close(ours, tensor(recorded[name]), atol=1e-5, rtol=0)


def test_NA2_skinning_world_transform_and_inverse(parity_dir):
    actor, field = load(parity_dir, "actor"), load(parity_dir, "field")
    bones = tensor(actor["joints_RT"]).permute(2, 0, 1)
    posed = skin(tensor(actor["vertices"]), tensor(actor["weights"]), bones)
    torch.testing.assert_close(posed, tensor(field["vertices_normalized"]), atol=1e-5, rtol=0)
    pose = Pose(bones, tensor(actor["rotation"]), tensor(actor["translation"]), tensor(actor["joints"]))
    world = pose.to_world(posed)
    torch.testing.assert_close(world, tensor(field["vertices_world"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(pose.to_normalised(world), posed, atol=1e-5, rtol=0)


def test_NA3_surface_points_on_given_faces(parity_dir):
    ops = load(parity_dir, "ops")
    faces = tensor(ops["pf_index"]).long()
    point = body.surface_point(tensor(ops["pf_points"]), tensor(ops["pf_triangles"])[faces], faces)
    torch.testing.assert_close(point.distance.square(), tensor(ops["pf_sqdist"]), atol=1e-6, rtol=0)
    torch.testing.assert_close(point.barycentrics, tensor(ops["pf_bary"]), atol=1e-4, rtol=0)


def test_NA4_canonical_points_without_residual(parity_dir):
    actor, field, ops = (load(parity_dir, name) for name in ("actor", "field", "ops"))
    pose = Pose(
        tensor(actor["joints_RT"]).permute(2, 0, 1),
        tensor(actor["rotation"]),
        tensor(actor["translation"]),
        tensor(actor["joints"]),
    )
    weights, faces = tensor(actor["weights"]), tensor(actor["faces"]).long()
    points = pose.to_normalised(tensor(field["points_world"]))
    index = tensor(ops["pf_index"]).long()
    vertices = tensor(field["vertices_normalized"])
    point = body.surface_point(points, vertices[faces[index]], index)
    blended = body.interpolate_corners(weights[faces], point)
    torch.testing.assert_close(blended, tensor(field["skin_weights"]), atol=1e-4, rtol=0)
    posed, canonical = (
        body.interpolate_corners(blend_transforms(weights, bones)[faces], point)[:, :3]
        for bones in (pose.bones, tensor(actor["tpose_joints_RT"]).permute(2, 0, 1))
    )
    ours = body.to_canonical(points, posed, canonical)
    torch.testing.assert_close(ours, tensor(field["canonical_no_residual"]), atol=1e-4, rtol=0)


def test_NA5_ball_bounds_and_sphere_test(parity_dir):
    ops, actor = load(parity_dir, "ops"), load(parity_dir, "actor")
    origin, directions = tensor(ops["rays_o"])[0], tensor(ops["rays_d"])
    near, far, hit = ball_bounds(origin, directions, tensor(ops["cloud_points"]), float(ops["cloud_radius"]))
    assert torch.equal(hit, tensor(ops["cloud_hit64"]))
    torch.testing.assert_close(near[hit], tensor(ops["cloud_near64"]).float()[hit], atol=1e-3, rtol=0)
    torch.testing.assert_close(far[hit], tensor(ops["cloud_far64"]).float()[hit], atol=1e-3, rtol=0)
    joints = tensor(actor["joints"])
    candidates = rays.sphere_candidates(origin, directions, joints)
    assert candidates[hit].all()
    assert not rays.sphere_candidates(origin + 100.0, directions, joints).any()


def test_NA6_intervals_deterministic_and_random(parity_dir):
    ops = load(parity_dir, "ops")
    near, far, count = tensor(ops["icdf_near"])[:, 0], tensor(ops["icdf_far"])[:, 0], int(ops["icdf_steps"])
    for kind, noise in (("det", None), ("rand", tensor(ops["icdf_noise"])[:, :count])):
        depths, lengths = sampling.interval_samples(near, far, count, noise)
        torch.testing.assert_close(depths, tensor(ops[f"icdf_{kind}_depth"]), atol=1e-5, rtol=0)
        torch.testing.assert_close(lengths, tensor(ops[f"icdf_{kind}_dists"]), atol=1e-5, rtol=0)
