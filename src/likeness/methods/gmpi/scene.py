"""The frame of a multiplane image: where its planes lie, how large they are, and which cameras look at it.

World: x right, y down, z away from the viewer; planes z = const > 0; cameras sit on a sphere around (0, 0, c) of radius
r = c, the frontal one at the origin. Source: Zhao et al., ECCV 2022, section 4 and its published settings.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.geometry.camera import Camera

Spacing = Literal["inverse", "uniform", "log-uniform", "sqrt", "squared"]
PoseSampling = Literal["truncated_gaussian", "uniform"]
LARGEST_EXTENT = 5.0


@dataclass(frozen=True)
class Scene:
    """A data set's camera set-up and its volume of planes, in scene units and radians."""

    fov_degrees: float
    """Full angle of the square picture."""
    near: float
    far: float
    radius: float
    """Radius of the cameras' sphere, and the distance of its centre from the origin."""
    yaw_std: float
    pitch_std: float
    truncation: float
    """Poses lie within this many standard deviations of the frontal one."""
    sampling: PoseSampling = "truncated_gaussian"
    spacing: Spacing = "inverse"
    confined: bool = True
    """Planes before the last have all the frontal camera's footprint on the last plane (a box, not a frustum)."""
    enlarge: float = 1.001

    def plane_depths(self, count: int, spacing: Spacing | None = None) -> Tensor:
        """(count,) z of the planes, nearest first, float32."""
        return plane_depths(self.near, self.far, count, spacing or self.spacing)

    def normalised(self, depths: Tensor) -> Tensor:
        """Depths (P,) over [0, 1] from near to far."""
        return (depths - self.near) / (self.far - self.near)

    def planes(self, count: int, spacing: Spacing | None = None) -> Tensor:
        """(count, 3) depth, height and width of the planes, nearest first.

        Raises:
            UserError: the poses are so wide that a plane would exceed 5 scene units.
        """
        depths = self.plane_depths(count, spacing)
        last = depths[-1].double()
        back = self._footprint(last, poses=self._extreme_poses())
        front = self._footprint(last, poses=torch.zeros(1, 2, dtype=torch.float64))
        if back.max() / 2 > LARGEST_EXTENT or not torch.isfinite(back).all():
            raise UserError(
                f"the back plane would have to reach {back.max() / 2:.2f} scene units, at most {LARGEST_EXTENT} are "
                "allowed: make h_stddev, v_stddev (yaw_std, pitch_std) or cam_pose_n_truncated_stds (truncation) less"
            )
        sizes = front.repeat(count, 1)
        if not self.confined:
            sizes = sizes * (depths.double() / last)[:, None]
        sizes[-1] = back * self.enlarge
        return torch.cat([depths[:, None], sizes.float()], dim=1)

    def _extreme_poses(self) -> Tensor:
        # The footprint is monotone in each angle away from the axes, so the axes and the four corners bound all poses.
        steps = torch.linspace(-self.truncation, self.truncation, 5, dtype=torch.float64)
        yaw, pitch = torch.meshgrid(steps * self.yaw_std, steps * self.pitch_std, indexing="ij")
        return torch.stack([yaw.flatten(), pitch.flatten()], dim=-1)

    def _footprint(self, depth: Tensor, poses: Tensor) -> Tensor:
        """(2,) height and width 2 max|y|, 2 max|x| of the picture's corner rays on the plane z = depth."""
        camera = self.cameras(poses[:, 0], poses[:, 1], 1)
        corners = camera.intrinsics.new_tensor([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
        local = corners @ torch.linalg.inv(camera.intrinsics).mT  # (4, 3)
        directions = local @ camera.rotation  # (N, 4, 3)
        eye = camera.position[:, None]
        steps = (depth - eye[..., 2]) / directions[..., 2]
        if (steps <= 0).any():
            return torch.full((2,), math.inf, dtype=torch.float64)
        hits = eye + steps[..., None] * directions
        return 2 * torch.stack([hits[..., 1].abs().max(), hits[..., 0].abs().max()])

    def cameras(self, yaw: Tensor, pitch: Tensor, size: int) -> Camera:
        """Cameras at yaw, pitch (N,) for pictures of side `size`."""
        return cameras_on_sphere(yaw, pitch, self.radius, math.radians(self.fov_degrees), size)

    def sample_poses(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """yaw (count,), then pitch (count,), drawn on the CPU from `generator` or torch's global one."""
        yaw = sample_angle(count, self.yaw_std, self.truncation, self.sampling, generator)
        return yaw, sample_angle(count, self.pitch_std, self.truncation, self.sampling, generator)


FFHQ = Scene(12.6, 0.95, 1.12, 1.0, 0.289, 0.127, 2.0)
METFACES = Scene(12.6, 0.95, 1.12, 1.0, 0.339, 0.133, 2.0)
AFHQCAT = Scene(13.39, 2.55, 2.80, 2.7, 0.19, 0.15, 3.0)
SCENES = {"FFHQ256": FFHQ, "FFHQ512": FFHQ, "FFHQ1024": FFHQ, "AFHQCat": AFHQCAT, "MetFaces": METFACES}


def plane_depths(near: float, far: float, count: int, spacing: Spacing) -> Tensor:
    """(count,) depths over [near, far], ascending, float32."""
    to, back = {
        "inverse": (lambda z: -1 / z, lambda s: -1 / s),
        "uniform": (lambda z: z, lambda s: s),
        "log-uniform": (math.log, torch.exp),
        "sqrt": (math.sqrt, torch.square),
        "squared": (lambda z: z * z, torch.sqrt),
    }[spacing]
    depths = back(torch.linspace(to(near), to(far), count, dtype=torch.float64))
    return depths.clamp(near, far).float()


def cameras_on_sphere(yaw: Tensor, pitch: Tensor, radius: float, fov: float, size: int) -> Camera:
    """Cameras on the sphere that look at its centre (0, 0, radius) without roll.

    Args:
        yaw: (N,) radians; positive moves the camera to the right.
        pitch: (N,) radians; positive moves it up.
        radius: of the sphere.
        fov: full angle, radians.
        size: side of the square picture.
    """
    yaw, pitch = torch.broadcast_tensors(yaw, pitch)
    cy, sy, cp, sp = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    zero = torch.zeros_like(cy)
    right = torch.stack([cy, zero, sy], dim=-1)
    down = torch.stack([sp * sy, cp, -sp * cy], dim=-1)
    position = torch.stack([radius * cp.abs() * sy, -radius * sp, radius - radius * cp.abs() * cy], dim=-1)
    centre = position.new_tensor([0.0, 0.0, radius])
    forward = (centre - position) / radius
    rotation = torch.stack([right, down, forward], dim=-2)  # world-to-camera
    focal = size / (2 * math.tan(fov / 2))
    intrinsics = yaw.new_tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Camera(intrinsics, rotation, -(rotation @ position.unsqueeze(-1)).squeeze(-1), (size, size), unit="scene")


def angles_of(position: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """yaw (N,), pitch (N,) of camera centres (N, 3) on the sphere."""
    x, y, z = ((position - position.new_tensor([0.0, 0.0, radius])) / radius).unbind(-1)
    return torch.atan2(x, -z), math.pi / 2 - torch.acos((-y).clamp(-1, 1))


def pose_vector(camera: Camera, dim: int = 16) -> Tensor:
    """(N, 16) world-to-camera matrix, row by row; (N, 9) its rotation; (N, 0) nothing."""
    matrix = torch.zeros(*camera.translation.shape[:-1], 4, 4, dtype=torch.float32, device=camera.translation.device)
    matrix[..., :3, :4] = camera.extrinsics
    matrix[..., 3, 3] = 1
    if dim == 9:
        return matrix[..., :3, :3].flatten(-2)
    return matrix.flatten(-2)[..., :dim]


def sample_angle(
    count: int, std: float, truncation: float, sampling: PoseSampling, generator: torch.Generator | None
) -> Tensor:
    """(count,) angles around 0; truncated normals are the first of four draws strictly inside, or clamped."""
    bound = truncation * std
    if std == 0:
        return torch.zeros(count)
    if sampling == "uniform":
        return (torch.rand(count, generator=generator) * 2 - 1) * bound
    draws = torch.randn(count, 4, generator=generator)
    inside = draws.abs() < truncation
    first = inside.int().argmax(dim=1)  # 0 where none is inside
    return (draws.gather(1, first[:, None])[:, 0] * std).clamp(-bound, bound)


FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
"""Between y up, z towards the viewer (face models) and y down, z away (ours)."""
DEEP3D_DISTANCE = 10.0


def along_z(distance: float) -> Tensor:
    """(4, 4) translation along z."""
    matrix = torch.eye(4)
    matrix[2, 3] = distance
    return matrix


def deep3d_to_world(angle: Tensor, trans: Tensor, radius: float) -> Tensor:
    """World-to-camera (N, 4, 4) of Deep3DFaceRecon's coefficients, before `onto_sphere`.

    Args:
        angle: (N, 3) radians about x, y, z.
        trans: (N, 3).
        radius: of the cameras' sphere.
    """
    sin, cos = angle.sin().unbind(-1), angle.cos().unbind(-1)
    zero, one = torch.zeros_like(sin[0]), torch.ones_like(sin[0])

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))

    rx = matrix(one, zero, zero, zero, cos[0], -sin[0], zero, sin[0], cos[0])
    ry = matrix(cos[1], zero, sin[1], zero, one, zero, -sin[1], zero, cos[1])
    rz = matrix(cos[2], -sin[2], zero, sin[2], cos[2], zero, zero, zero, one)
    rigid = torch.eye(4).repeat(len(angle), 1, 1)
    rigid[:, :3, :3] = rz @ ry @ rx
    rigid[:, :3, 3] = trans
    return FLIP @ along_z(-DEEP3D_DISTANCE) @ rigid @ FLIP @ along_z(-radius)


def eg3d_to_world(camera_to_world: Tensor, radius: float) -> Tensor:
    """World-to-camera (N, 4, 4) of EG3D's camera-to-world labels (N, 4, 4), before `onto_sphere`."""
    return torch.linalg.inv(camera_to_world) @ FLIP @ along_z(-radius)


def onto_sphere(matrix: Tensor, radius: float) -> Tensor:
    """World-to-camera (N, 4, 4) with the same rotation and the camera's centre moved onto the sphere."""
    rotation, translation = matrix[:, :3, :3], matrix[:, :3, 3:]
    centre = matrix.new_tensor([[0.0], [0.0], [radius]])
    offset = -rotation.mT @ translation - centre
    moved = centre + radius * offset / offset.norm(dim=1, keepdim=True)
    result = matrix.clone()
    result[:, :3, 3:] = -rotation @ moved
    return result
