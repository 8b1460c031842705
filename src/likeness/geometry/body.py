"""A skinned body and its pose, as the Neural Actor data set stores them."""

from dataclasses import dataclass

from torch import Tensor

from likeness.geometry.skinning import skin


@dataclass(frozen=True)
class BodyModel:
    """A body's mesh in its rest pose."""

    vertices: Tensor
    """(V, 3) metres."""
    faces: Tensor
    """(F, 3) int64."""
    face_uv: Tensor
    """(F, 3, 2) in [0, 1], v pointing up."""
    weights: Tensor
    """(V, J) skinning weights, rows summing to 1."""
    canonical_bones: Tensor | None = None
    """(J, 4, 4) from rest to the desired canonical pose; None takes the rest pose."""


@dataclass(frozen=True)
class Pose:
    """One frame's motion. "Normalised space" is the body before `rotation` and `translation`."""

    bones: Tensor
    """(J, 4, 4) A_j, rest to pose, without global motion."""
    rotation: Tensor
    """(3, 3) transpose of the global rotation: x_world = x_normalised @ rotation + translation, points as rows."""
    translation: Tensor
    """(3,) metres."""
    joints: Tensor
    """(J, 3) joints in the world, metres."""

    def to_world(self, points: Tensor) -> Tensor:
        """Normalised points (N, 3) in the world."""
        return points @ self.rotation + self.translation

    def to_normalised(self, points: Tensor) -> Tensor:
        """World points (N, 3) in normalised space."""
        return (points - self.translation) @ self.rotation.T


def posed_vertices(model: BodyModel, pose: Pose) -> Tensor:
    """(V, 3) the posed mesh in the world."""
    return pose.to_world(skin(model.vertices, model.weights, pose.bones))
