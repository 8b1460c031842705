"""Where a picture is taken from: camera paths around the actor, cameras from files, and the studio's own."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from likeness.errors import UserError
from likeness.formats.actor import ActorCamera
from likeness.media.image import read_uint8

PathStyle = Literal["circle", "zoomin_circle", "zoomin_line"]


@dataclass(frozen=True)
class Viewpoint:
    """A camera and the size of the picture that its intrinsics refer to."""

    camera: ActorCamera
    size: tuple[int, int]
    """(height, width)."""


@dataclass(frozen=True)
class CameraPath:
    """A way around `at`. Lengths are metres, `t0` radians."""

    style: PathStyle = "circle"
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What the camera looks at."""
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)
    """The direction that points down in the picture; published name and sign."""
    radius: float = 3.0
    """Distance from the axis; `zoomin_*` start there."""
    h: float = 0.0
    """Height along the axis above `at`."""
    axis: Literal["x", "y", "z"] = "y"
    """What the circle turns around."""
    t0: float = 0.0
    """Angle at the start."""
    r: float = 1.0
    """Degrees of turn a degree of the path; -1 turns the other way."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Moves the whole path, not what it looks at."""
    nearest: float = 1.0
    """Of `zoomin_*`: the distance at which the camera turns back."""
    approach: float = 0.02
    """Of `zoomin_*`: metres nearer a degree of the path."""

    def position(self, degrees: float) -> Tensor:
        """(3,) the camera's place at path parameter `degrees`."""
        turn = 0.0 if self.style == "zoomin_line" else self.r * degrees * math.pi / 180
        angle = turn + self.t0
        radius = self.radius
        if self.style != "circle":
            reach = max(self.radius - self.nearest, 0.0)
            travelled = math.fmod(self.approach * abs(degrees), 2 * reach) if reach else 0.0
            radius = self.radius - min(travelled, 2 * reach - travelled)
        around = radius * math.cos(angle), radius * math.sin(angle)
        place = {
            "x": (self.h, *around),
            "y": (around[0], self.h, around[1]),
            "z": (*around, self.h),
        }[self.axis]
        return torch.tensor(place) + torch.tensor(self.at) + torch.tensor(self.offset)

    def camera_to_world(self, degrees: float) -> Tensor:
        """(4, 4) the pose at path parameter `degrees`."""
        return look_at(self.position(degrees), torch.tensor(self.at), torch.tensor(self.up))


def look_at(position: Tensor, at: Tensor, up: Tensor) -> Tensor:
    """(4, 4) camera-to-world of a camera at `position` (3,) that looks at `at`, with `up` pointing down in the picture.

    Raises:
        UserError: it looks along `up`, or stands where it looks.
    """
    forward = at - position
    right = torch.linalg.cross(up, forward)
    if right.norm() < 1e-6 * max(float(forward.norm()), 1.0):
        raise UserError(
            f"a camera at {position.tolist()} that looks at {at.tolist()} has no horizon: move it, "
            "or change --up-vector"
        )
    z, x = forward / forward.norm(), right / right.norm()
    matrix = torch.eye(4)
    matrix[:3] = torch.stack([x, torch.linalg.cross(z, x), z, position], dim=1)
    return matrix


def parse_path_arguments(text: str) -> dict[str, object]:
    """`"radius: 3, h: 1, axis: y"`, or the same as a Python dictionary, as fields of `CameraPath`.

    Raises:
        UserError: a name or value that the path does not know.
    """
    known = {field.name for field in fields(CameraPath)} - {"style", "at", "up"}
    found: dict[str, object] = {}
    for entry in filter(None, (part.strip() for part in re.split(r",(?![^(\[]*[)\]])", text.strip().strip("{}")))):
        match = re.fullmatch(r"['\"]?(\w+)['\"]?\s*[:=]\s*(.+)", entry)
        if match is None or match[1] not in known:
            raise UserError(f"path argument {entry!r}: expected `name: value` with one of {', '.join(sorted(known))}")
        name, value = match[1], match[2].strip().strip("'\"()[]")
        try:
            if name == "axis":
                if value not in ("x", "y", "z"):
                    raise ValueError("expected x, y or z")
                found[name] = value
            elif name == "offset":
                x, y, z = (float(part) for part in value.split(","))
                found[name] = (x, y, z)
            else:
                found[name] = float(value)
        except ValueError as error:
            raise UserError(f"path argument {entry!r}: {error}") from error
    return found


def studio_distance(cameras: Sequence[ActorCamera], at: Tensor, axis: str) -> tuple[float, float]:
    """Distance from the axis through `at` (3,), and height along it, of the studio's first camera."""
    offset = cameras[0].camera_to_world[:3, 3] - at
    along = "xyz".index(axis)
    aside = torch.cat([offset[:along], offset[along + 1 :]])
    return float(aside.norm()), float(offset[along])


def picture_size(pictures: Sequence[Path], intrinsics: Tensor) -> tuple[int, int]:
    """(height, width) that `intrinsics` refer to: that of a picture, else twice the principal point."""
    if pictures:
        height, width = read_uint8(pictures[0]).shape[:2]
        return height, width
    return max(1, round(2 * float(intrinsics[1, 2]))), max(1, round(2 * float(intrinsics[0, 2])))
