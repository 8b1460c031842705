"""Light on skin, cloth, eyes, teeth and hair; shadows from a depth map seen from the light."""

import numpy as np
import torch
import warp as wp

from likeness.capture import light_kernels
from likeness.capture.assets import load_assets
from likeness.capture.light import Light
from likeness.capture.light_kernels import SHADOW_SIZE
from likeness.capture.maps import openness
from likeness.capture.parts import Part
from likeness.capture.person import Person
from likeness.capture.scene import Scene, ascending
from likeness.capture.skin import srgb_to_linear
from likeness.kernels import as_array, launch
from likeness.render.rasterise import Raster, rasterise

_CPU = torch.device("cpu")
FAR = 20.0
"""Metres that the shadow map's camera stands away, so that all depths are positive."""
_LINEAR = srgb_to_linear(np.arange(256) / 255)


def _finishes() -> np.ndarray:
    """(16, 5) float32 by `Part`: gloss, its power, and how far light reaches round an edge in red, green and blue."""
    out = np.tile(np.array([0.008, 12, 0.04, 0.04, 0.04], np.float32), (len(Part), 1))
    # Blood under the skin scatters red furthest: the cheap part of subsurface scattering.
    for part in (Part.SKIN, Part.LIPS, Part.EARS, Part.NAILS, Part.BROWS, Part.BEARD):
        out[part] = 0.05, 18, 0.28, 0.10, 0.06
    out[Part.LIPS, :2] = 0.10, 40
    out[Part.MOUTH, 0] = 0.06
    out[Part.SHOES, 0] = 0.08
    out[Part.TONGUE] = 0.04, 24, 0, 0, 0
    out[Part.TEETH] = 0.10, 60, 0, 0, 0
    out[Part.EYES] = 1.2, 500, 0.15, 0.15, 0.15
    return out


_FINISH = _finishes()


class ShadowMap:
    """Depth as the key light sees it, and the light itself, as the kernels take them."""

    def __init__(self, scene: Scene, light: Light, centre: np.ndarray, radius: float):
        """Cover a ball of `radius` metres about `centre`."""
        direction = light.key_direction
        side = np.cross(direction, [0.1, 0.9, 0.3])
        side /= np.linalg.norm(side)
        self._axes = np.stack([side, np.cross(direction, side), -direction]).astype(np.float32)
        self._origin = (self._axes @ centre).astype(np.float32)
        self._scale = np.float32(SHADOW_SIZE / (2 * radius))
        places = self._place(scene.vertices)
        casters = scene.casters[ascending(places[scene.casters[:, 0], 2])]
        size = (SHADOW_SIZE, SHADOW_SIZE)
        raster = rasterise(torch.from_numpy(places)[None], torch.from_numpy(casters), size, perspective=False)
        # Kept here: the kernels' structure does not own its arrays.
        self._depth = torch.where(raster.depth[0] > 0, raster.depth[0] - FAR, torch.inf)
        self._ambient = torch.from_numpy(light.ambient.astype(np.float32))
        self.lamps = light_kernels.Lamps()
        self.lamps.key_direction = wp.vec3(*light.key_direction)
        self.lamps.key = wp.vec3(*light.key)
        self.lamps.fill_direction = wp.vec3(*light.fill_direction)
        self.lamps.fill = wp.vec3(*light.fill)
        self.lamps.ambient = wp.from_torch(self._ambient, dtype=wp.vec3)
        self.lamps.axes = wp.mat33(*self._axes.ravel())
        self.lamps.origin = wp.vec3(*self._origin)
        self.lamps.scale = float(self._scale)
        self.lamps.depth = wp.from_torch(self._depth)

    def lit(self, points: np.ndarray) -> np.ndarray:
        """(N,) share of the key light that reaches points (N, 3) float32, over a 3x3 neighbourhood."""
        out = np.empty(len(points), np.float32)
        arguments = [_array(points, wp.vec3), self.lamps, _array(out, wp.float32)]
        launch(light_kernels.reach, len(points), arguments, _CPU)
        return out

    def _place(self, points: np.ndarray) -> np.ndarray:
        local = points @ self._axes.T - self._origin
        out = np.empty_like(local)
        out[:, :2] = local[:, :2] * self._scale + SHADOW_SIZE / 2
        out[:, 2] = local[:, 2] + FAR
        return out


def describe(raster: Raster, scene: Scene, person: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part (H, W) uint8, texture coordinates (H, W, 2) float32 and unit normal (H, W, 3) of the first picture's pixels.

    All are 0 where nothing is seen, texture coordinates where it is not the body.
    """
    size = raster.triangle.shape[1:]
    parts, uv = np.zeros(size, np.uint8), np.zeros((*size, 2), np.float32)
    normals = np.zeros((*size, 3), np.float32)
    arguments = [
        *_seen(raster),
        _array(scene.triangles, wp.vec3i),
        _array(scene.materials, wp.uint8),
        _array(scene.normals, wp.vec3),
        _array(scene.corners_uv, wp.vec2),
        _array(person.labels, wp.uint8),
        _array(parts.reshape(-1), wp.uint8),
        _array(uv.reshape(-1, 2), wp.vec2),
        _array(normals.reshape(-1, 3), wp.vec3),
    ]
    launch(light_kernels.describe, parts.size, arguments, _CPU)
    return parts, uv, normals


def shade(
    raster: Raster,
    scene: Scene,
    person: Person,
    camera_centre: np.ndarray,
    shadow: ShadowMap,
    radiance: np.ndarray,
) -> None:
    """Replace the linear radiance (H, W, 3) float32, in place, where the raster's first picture shows the person."""
    arguments = [
        *_seen(raster),
        _array(scene.triangles, wp.vec3i),
        _array(scene.materials, wp.uint8),
        _array(scene.vertices, wp.vec3),
        _array(scene.normals, wp.vec3),
        _array(scene.local, wp.vec3),
        _array(load_assets().vertices, wp.vec3),
        _array(openness(), wp.float32),
        _array(scene.corners_uv, wp.vec2),
        _array(person.texture, wp.uint8),
        _array(person.labels, wp.uint8),
        _array(_LINEAR, wp.float32),
        _array(_FINISH, wp.float32),
        wp.vec3(*srgb_to_linear(person.hair_colour)),
        wp.vec3(*srgb_to_linear(person.iris)),
        wp.vec3(*person.face_center),
        wp.vec3(*camera_centre),
        shadow.lamps,
        _array(radiance.reshape(-1, 3), wp.vec3),
    ]
    launch(light_kernels.shade, raster.triangle[0].numel(), arguments, _CPU)


def _seen(raster: Raster) -> list:
    return [
        as_array(raster.triangle[0].view(-1), wp.int32),
        as_array(raster.barycentric[0].view(-1, 3), wp.vec3),
    ]


def _array(values: np.ndarray, dtype: type):
    return as_array(torch.from_numpy(values), dtype)
