"""Linear blend skinning: vertices that follow weighted bones, and the way back.

Bone transforms are 4 x 4, act on column vectors, and lead from the rest pose to the posed frame (A_j of Loper et al.,
"SMPL", 2015, equation 2-4).
"""

import torch
from torch import Tensor


def blend_transforms(weights: Tensor, transforms: Tensor) -> Tensor:
    """The transform of each vertex, the weighted mean of the bones'.

    Args:
        weights: (..., V, J), rows sum to 1.
        transforms: (..., J, 4, 4).

    Returns:
        (..., V, 4, 4).
    """
    return (weights @ transforms.flatten(-2)).unflatten(-1, (4, 4))


def apply_transforms(transforms: Tensor, points: Tensor) -> Tensor:
    """Points (..., V, 3) moved by affine `transforms` (..., V, 4, 4), (..., V, 3)."""
    return (transforms[..., :3, :3] @ points.unsqueeze(-1)).squeeze(-1) + transforms[..., :3, 3]


def skin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Rest-pose points (..., V, 3) carried to the pose: x_i = (sum_j w_ij A_j) v_i, (..., V, 3)."""
    return apply_transforms(blend_transforms(weights, transforms), points)


def unskin(points: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Posed points (..., V, 3) carried back to the rest pose, (..., V, 3): the inverse of `skin`.

    Raises:
        torch.linalg.LinAlgError: a blended transform flattens space and has no way back.
    """
    blended = blend_transforms(weights, transforms)
    offset = points - blended[..., :3, 3]
    return torch.linalg.solve(blended[..., :3, :3], offset.unsqueeze(-1)).squeeze(-1)


def bone_transforms(rotations: Tensor, joints: Tensor, parents: list[int]) -> Tensor:
    """Transforms from rest to pose of a skeleton whose every bone turns about its joint.

    Args:
        rotations: (..., J, 3, 3) of each bone relative to its parent.
        joints: (..., J, 3) rest positions.
        parents: J indices, each below its own; -1 for a root.

    Returns:
        (..., J, 4, 4) A_j = G_j translate(-joint_j), with G the chain of rotations about the joints.

    Raises:
        ValueError: a parent does not come before its child.
    """
    chain: list[Tensor] = []
    for child, parent in enumerate(parents):
        if parent >= child:
            raise ValueError(f"bone {child} has parent {parent}: parents must come before their children")
        rotation, joint = rotations[..., child, :, :], joints[..., child, :]
        offset = joint - (rotation @ joint.unsqueeze(-1)).squeeze(-1)
        local = torch.cat([rotation, offset.unsqueeze(-1).expand(*rotation.shape[:-1], 1)], dim=-1)
        bottom = local.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*local.shape[:-2], 1, 4)
        local = torch.cat([local, bottom], dim=-2)
        chain.append(local if parent < 0 else chain[parent] @ local)
    return torch.stack(chain, dim=-3)
