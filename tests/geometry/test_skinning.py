"""Linear blend skinning against recorded and closed-form poses."""

import numpy as np
import pytest
import torch

from likeness.geometry.rotations import axis_angle_to_matrix
from likeness.geometry.skinning import bone_transforms, skin, unskin


def test_NA2_skinning_world_transform_inverse(parity_dir):
    folder = parity_dir / "neural_actor"
    with np.load(folder / "actor.npz") as f:
        actor = {key: torch.from_numpy(f[key]) for key in f.files}
    with np.load(folder / "field.npz") as f:
        field = {key: torch.from_numpy(f[key]) for key in f.files}
    transforms = actor["joints_RT"].permute(2, 0, 1)
    posed = skin(actor["vertices"], actor["weights"], transforms)
    torch.testing.assert_close(posed, field["vertices_normalized"], rtol=0, atol=1e-5)
    world = posed @ actor["rotation"] + actor["translation"]
    torch.testing.assert_close(world, field["vertices_world"], rtol=0, atol=1e-5)
    torch.testing.assert_close(unskin(posed, actor["weights"], transforms), actor["vertices"], rtol=0, atol=1e-5)

    # Through the rest pose into the canonical one.
    points = (field["points_world"] - actor["translation"]) @ actor["rotation"].mT
    rest = unskin(points, field["skin_weights"], transforms)
    canonical = skin(rest, field["skin_weights"], actor["tpose_joints_RT"].permute(2, 0, 1))
    torch.testing.assert_close(canonical, field["canonical_no_residual"], rtol=0, atol=1e-4)


def test_an_arm_of_two_bones():
    quarter = axis_angle_to_matrix(torch.tensor([[0.0, 0, 0], [0, 0, torch.pi / 2], [0, 0, torch.pi / 2]]))
    joints = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    transforms = bone_transforms(quarter, joints, [-1, 0, 1])
    points = torch.tensor([[0.5, 0, 0], [1.5, 0, 0], [3.0, 0, 0]])
    posed = skin(points, torch.eye(3), transforms)
    torch.testing.assert_close(posed, torch.tensor([[0.5, 0, 0], [1, 0.5, 0], [0, 1, 0]]), rtol=0, atol=1e-6)
    batch = bone_transforms(quarter.expand(4, 3, 3, 3), joints.expand(4, 3, 3), [-1, 0, 1])
    torch.testing.assert_close(batch[2], transforms)


def test_parents_come_first():
    with pytest.raises(ValueError, match="bone 0 has parent 1"):
        bone_transforms(torch.eye(3).expand(2, 3, 3), torch.zeros(2, 3), [1, -1])
