"""The pinhole camera of every method: OpenCV axes, world-to-camera, intrinsics in pixels of one picture size."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, or a batch of them.

    Axes are OpenCV's (x right, y down, z forward); a world point X lies at R X + t in the camera's frame. Row 0 is the
    top of the picture and the centre of pixel (row i, column j) lies at (j + 0.5, i + 0.5).
    """

    intrinsics: Tensor
    """(..., 3, 3) K, in pixels of a picture of `size`."""
    rotation: Tensor
    """(..., 3, 3) world-to-camera R."""
    translation: Tensor
    """(..., 3) world-to-camera t, in `unit`."""
    size: tuple[int, int]
    """(height, width) of the picture that `intrinsics` refers to."""
    unit: str = "m"
    """Unit of length: "m", "mm" or "scene"."""
    distortion: Tensor | None = None
    """(..., 5) OpenCV's k1 k2 p1 p2 k3, or None for none."""

    @property
    def position(self) -> Tensor:
        """(..., 3) the camera's centre in the world."""
        return -(self.rotation.mT @ self.translation.unsqueeze(-1)).squeeze(-1)

    @property
    def extrinsics(self) -> Tensor:
        """(..., 3, 4) [R | t]."""
        return torch.cat([self.rotation, self.translation.unsqueeze(-1)], dim=-1)

    def to_camera(self, points: Tensor) -> Tensor:
        """World points (..., N, 3) in the camera's frame, (..., N, 3)."""
        return points @ self.rotation.mT + self.translation.unsqueeze(-2)

    def to_world(self, points: Tensor) -> Tensor:
        """Camera-frame points (..., N, 3) in the world, (..., N, 3)."""
        return (points - self.translation.unsqueeze(-2)) @ self.rotation

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (..., N, 2) and depths (..., N) along z of world points (..., N, 3), distortion included."""
        local = self.to_camera(points)
        depth = local[..., 2]
        plane = local[..., :2] / depth.unsqueeze(-1)
        if self.distortion is not None:
            plane = distort(plane, self.distortion)
        pixels = plane @ self.intrinsics[..., :2, :2].mT + self.intrinsics[..., :2, 2].unsqueeze(-2)
        return pixels, depth

    def resized(self, size: tuple[int, int]) -> "Camera":
        """The same camera for a picture resampled to `size` (height, width)."""
        scale = self.intrinsics.new_tensor([size[1] / self.size[1], size[0] / self.size[0], 1.0])
        return replace(self, intrinsics=scale[:, None] * self.intrinsics, size=size)

    def to(self, device: torch.device | str) -> "Camera":
        """The same camera with its tensors on `device`."""
        return replace(
            self,
            intrinsics=self.intrinsics.to(device),
            rotation=self.rotation.to(device),
            translation=self.translation.to(device),
            distortion=None if self.distortion is None else self.distortion.to(device),
        )


def distort(plane: Tensor, coefficients: Tensor) -> Tensor:
    """Apply OpenCV's radial-tangential model to normalised plane points.

    Args:
        plane: (..., N, 2) x/z, y/z.
        coefficients: (..., 5) k1 k2 p1 p2 k3.

    Returns:
        (..., N, 2) distorted normalised points.
    """
    k1, k2, p1, p2, k3 = coefficients.unsqueeze(-2).unbind(-1)
    x, y = plane.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y],
        dim=-1,
    )


def look_at(position: Tensor, target: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """World-to-camera rotation (..., 3, 3) and translation (..., 3) of a camera at `position` looking at `target`.

    `up` (..., 3) is the world direction that points towards the picture's top.
    """
    forward = torch.nn.functional.normalize(target - position, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    return rotation, -(rotation @ position.unsqueeze(-1)).squeeze(-1)
