"""Light on skin, cloth, eyes, teeth and hair; shadows from a depth map seen from the light."""

from dataclasses import dataclass

import numpy as np
import torch
import warp as wp

from likeness.capture import eyes, light_kernels
from likeness.capture.assets import load_assets
from likeness.capture.light import Light
from likeness.capture.light_kernels import SHADOW_SIZE
from likeness.capture.maps import TEXTURE_SIZE, openness
from likeness.capture.parts import Part
from likeness.capture.person import Person
from likeness.capture.scene import Material, Scene
from likeness.capture.skin import smoothstep, srgb_to_linear
from likeness.render.kernels import as_array, launch
from likeness.render.rasterise import Raster, rasterise

_CPU = torch.device("cpu")
FAR = 20.0
"""Metres that the shadow map's camera stands away, so that all depths are positive."""
_LINEAR = srgb_to_linear(np.arange(256) / 255)


def _finishes() -> np.ndarray:
    """(15, 5) float32 by `Part`: gloss, its power, and how far light reaches round an edge in red, green and blue."""
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
        places = torch.from_numpy(self._place(scene.vertices))[None]
        casters = torch.from_numpy(scene.casters)
        raster = rasterise(places, casters, (SHADOW_SIZE, SHADOW_SIZE), perspective=False)
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


@dataclass(frozen=True)
class Hits:
    """The covered pixels of one raster, as flat lists."""

    pixels: np.ndarray
    """(N,) flat pixel numbers."""
    triangles: np.ndarray
    """(N,) triangle numbers."""
    weights: np.ndarray
    """(N, 3) float32 barycentric."""

    def of(self, values: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Interpolate per-vertex values (V, C): (N, C)."""
        picked = corners[self.triangles]
        out = self.weights[:, 0:1] * values[picked[:, 0]]
        out += self.weights[:, 1:2] * values[picked[:, 1]]
        out += self.weights[:, 2:3] * values[picked[:, 2]]
        return out

    def where(self, chosen: np.ndarray) -> "Hits":
        """Some of the pixels."""
        return Hits(self.pixels[chosen], self.triangles[chosen], self.weights[chosen])


def hits(raster: Raster) -> Hits:
    """The covered pixels of the first picture of a raster."""
    triangles = raster.triangle[0].numpy().ravel()
    pixels = np.flatnonzero(triangles >= 0)
    return Hits(pixels, triangles[pixels], raster.barycentric[0].numpy().reshape(-1, 3)[pixels])


def texel_places(found: Hits, scene: Scene) -> np.ndarray:
    """(N, 2) texture coordinates, v up, of pixels on the body."""
    return np.einsum("nk,nkc->nc", found.weights, scene.corners_uv[found.triangles])


def part_labels(found: Hits, scene: Scene, person: Person) -> np.ndarray:
    """(N,) uint8 `Part` of every hit, from the texture's masks."""
    kinds = scene.materials[found.triangles]
    table = np.array([Part.SKIN, Part.TONGUE, Part.TEETH, Part.EYES, Part.HAIR], np.uint8)
    out = table[kinds]
    body = kinds == Material.BODY
    uv = texel_places(found.where(body), scene)
    rows, columns = (np.clip(v * TEXTURE_SIZE, 0, TEXTURE_SIZE - 1).astype(int) for v in (1 - uv[:, 1], uv[:, 0]))
    out[body] = person.labels[rows, columns]
    return out


def shade(
    found: Hits,
    scene: Scene,
    person: Person,
    light: Light,
    camera_centre: np.ndarray,
    shadow: ShadowMap,
) -> np.ndarray:
    """Linear radiance (N, 3) float32 of every hit."""
    kinds = scene.materials[found.triangles]
    albedo = np.zeros((len(kinds), 3), np.float32)
    albedo[kinds == Material.TONGUE] = (0.42, 0.13, 0.12)
    teeth = kinds == Material.TEETH
    albedo[teeth] = _teeth(found.where(teeth).of(load_assets().vertices, scene.triangles))
    ball = kinds == Material.EYE
    directions = found.where(ball).of(scene.local, scene.triangles)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    albedo[ball] = eyes.colour(directions, person.iris)
    out = np.empty((len(kinds), 3), np.float32)
    arguments = [
        _array(found.triangles, wp.int32),
        _array(found.weights, wp.vec3),
        _array(scene.triangles, wp.vec3i),
        _array(scene.materials, wp.uint8),
        _array(scene.vertices, wp.vec3),
        _array(scene.normals, wp.vec3),
        _array(scene.local, wp.vec3),
        _array(openness(), wp.float32),
        _array(scene.corners_uv, wp.vec2),
        _array(person.texture, wp.uint8),
        _array(_LINEAR, wp.float32),
        _array(part_labels(found, scene, person), wp.uint8),
        _array(_FINISH, wp.float32),
        _array(albedo, wp.vec3),
        wp.vec3(*srgb_to_linear(person.hair_colour)),
        wp.vec3(*person.face_center),
        wp.vec3(*camera_centre),
        shadow.lamps,
        _array(out, wp.vec3),
    ]
    launch(light_kernels.shade, len(kinds), arguments, _CPU)
    return out


def _array(values: np.ndarray, dtype: type):
    return as_array(torch.from_numpy(values), dtype)


def _teeth(rest: np.ndarray) -> np.ndarray:
    """Single teeth with gaps between them and gums above, from rest positions (N, 3)."""
    x, y, _ = rest.T
    along = np.abs(x) / 0.068
    gap = np.abs((along + 0.0) % 1.0 - 0.0)
    gap = np.minimum(gap, 1 - gap)
    enamel = np.array([0.82, 0.76, 0.64], np.float32) * (0.55 + 0.45 * smoothstep(0.02, 0.13, gap))[:, None]
    back = smoothstep(0.10, 0.42, np.abs(x))[:, None]
    gum_edge = np.where(y > 6.60, 6.665 + 0.012 * np.cos(2 * np.pi * along), 6.455)
    gum = np.where(y > 6.56, smoothstep(-0.008, 0.008, y - gum_edge), 0)[:, None]
    return (enamel + gum * (np.array([0.35, 0.12, 0.11]) - enamel)) * (1 - 0.55 * back)
