"""Light on skin, cloth, eyes, teeth and hair; shadows from a depth map seen from the light."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from likeness.capture import eyes
from likeness.capture.assets import load_assets
from likeness.capture.light import Light
from likeness.capture.maps import TEXTURE_SIZE, openness
from likeness.capture.parts import Part
from likeness.capture.person import Person
from likeness.capture.scene import Material, Scene
from likeness.capture.skin import smoothstep, srgb_to_linear
from likeness.render.rasterise import Raster, rasterise

SHADOW_SIZE = 512
SHADOW_BIAS = 0.003
"""Metres, along the surface's normal and again towards the light."""
WRAP = np.array([0.28, 0.10, 0.06], np.float32)
"""How far light reaches round an edge of skin, by channel: the cheap part of subsurface scattering."""
_LINEAR = srgb_to_linear(np.arange(256) / 255)


class ShadowMap:
    """Depth as the key light sees it."""

    def __init__(self, scene: Scene, light: Light, centre: np.ndarray, radius: float):
        """Cover a ball of `radius` metres about `centre`."""
        direction = light.key_direction
        side = np.cross(direction, [0.1, 0.9, 0.3])
        side /= np.linalg.norm(side)
        self._axes = np.stack([side, np.cross(direction, side), -direction]).astype(np.float32)
        self._origin = (self._axes @ centre).astype(np.float32)
        self._scale = np.float32(SHADOW_SIZE / (2 * radius))
        places = torch.from_numpy(self._place(scene.vertices))[None]
        raster = rasterise(places, torch.from_numpy(scene.triangles), (SHADOW_SIZE, SHADOW_SIZE), perspective=False)
        depth = raster.depth[0].numpy()
        self._depth = np.where(depth > 0, depth, np.float32(1e9))

    def lit(self, points: np.ndarray) -> np.ndarray:
        """(N,) share of the key light that reaches points (N, 3), over a 3x3 neighbourhood."""
        spots = self._place(points)
        out = np.zeros(len(points), np.float32)
        for dx in (-1.2, 0.0, 1.2):
            for dy in (-1.2, 0.0, 1.2):
                columns = np.clip(spots[:, 0] + dx, 0, SHADOW_SIZE - 1).astype(np.int32)
                rows = np.clip(spots[:, 1] + dy, 0, SHADOW_SIZE - 1).astype(np.int32)
                out += self._depth[rows, columns] + SHADOW_BIAS > spots[:, 2]
        return out / 9

    def _place(self, points: np.ndarray) -> np.ndarray:
        local = points @ self._axes.T - self._origin
        out = np.empty_like(local)
        out[:, :2] = local[:, :2] * self._scale + SHADOW_SIZE / 2
        out[:, 2] = local[:, 2] + 20
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
    found: Hits, scene: Scene, person: Person, light: Light, camera_centre: np.ndarray, shadow: ShadowMap
) -> np.ndarray:
    """Linear radiance (N, 3) of every hit."""
    points = found.of(scene.vertices, scene.triangles)
    normals = found.of(scene.normals, scene.triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    view = camera_centre.astype(np.float32) - points
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    # Hair has no outside to step to.
    outwards = np.where((scene.materials[found.triangles] == Material.HAIR)[:, None], view, normals)
    lit = shadow.lit(points + np.float32(SHADOW_BIAS) * outwards)
    kinds = scene.materials[found.triangles]
    # Light comes through the lips.
    lit[kinds == Material.TEETH] = np.maximum(lit[kinds == Material.TEETH], 0.45)
    out = np.zeros((len(points), 3), np.float32)
    albedo, gloss, power, open_sky, wrap = _surface(found, scene, person, kinds)
    solid = kinds != Material.HAIR
    facing = normals[solid] * np.where(np.einsum("ni,ni->n", normals[solid], view[solid]) < -0.2, -1, 1)[:, None]
    out[solid] = _light_surface(
        albedo[solid], facing, view[solid], lit[solid], light, gloss[solid], power[solid], open_sky[solid], wrap[solid]
    )
    strands = ~solid
    if strands.any():
        out[strands] = _light_hair(
            found.where(strands), scene, person, light, points[strands], normals[strands], view[strands], lit[strands]
        )
    return out


def _surface(found: Hits, scene: Scene, person: Person, kinds: np.ndarray):
    count = len(kinds)
    albedo = np.zeros((count, 3), np.float32)
    gloss, power = np.full(count, 0.04, np.float32), np.full(count, 24.0, np.float32)
    open_sky = np.ones(count, np.float32)
    wrap = np.zeros((count, 3), np.float32)
    base = kinds <= Material.TEETH
    open_sky[base] = found.where(base).of(openness()[:, None], scene.triangles)[:, 0] ** 1.3
    body = kinds == Material.BODY
    on_body = found.where(body)
    uv = texel_places(on_body, scene).astype(np.float32)
    place = uv * [TEXTURE_SIZE, -TEXTURE_SIZE] + [-0.5, TEXTURE_SIZE - 0.5]
    chunks = np.array_split(np.arange(len(uv)), len(uv) // 30000 + 1)
    picked = [
        cv2.remap(
            person.texture,
            place[chunk, 0].astype(np.float32)[:, None],
            place[chunk, 1].astype(np.float32)[:, None],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).reshape(-1, 3)
        for chunk in chunks
        if len(chunk)
    ]
    albedo[body] = _LINEAR[np.concatenate(picked)] if picked else 0
    labels = part_labels(on_body, scene, person)
    # Light reaches an open mouth through lips and cheeks, too.
    open_sky[body] = np.where(labels == Part.MOUTH, np.maximum(open_sky[body], 0.25), open_sky[body])
    skin = np.isin(labels, (Part.SKIN, Part.LIPS, Part.EARS, Part.NAILS, Part.BROWS, Part.BEARD))
    wrap[body] = np.where(skin[:, None], WRAP, np.float32(0.04))
    gloss[body] = np.select(
        [labels == Part.LIPS, labels == Part.MOUTH, labels == Part.SHOES, skin], [0.10, 0.06, 0.08, 0.05], 0.008
    )
    power[body] = np.select([labels == Part.LIPS, skin], [40.0, 18.0], 12.0)
    rest = load_assets().vertices
    albedo[kinds == Material.TONGUE] = (0.42, 0.13, 0.12)
    teeth = kinds == Material.TEETH
    if teeth.any():
        albedo[teeth] = _teeth(found.where(teeth).of(rest, scene.triangles))
        gloss[teeth], power[teeth] = 0.10, 60.0
        open_sky[teeth] = 0.8
    ball = kinds == Material.EYE
    if ball.any():
        directions = found.where(ball).of(scene.local, scene.triangles)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        albedo[ball] = eyes.colour(directions, person.iris)
        gloss[ball], power[ball] = 1.2, 500.0
        # The upper lid and its lashes keep the sky off the eye.
        open_sky[ball] = 0.62 - 0.25 * smoothstep(0.15, 0.5, directions[:, 1])
        wrap[ball] = 0.15
    return albedo, gloss, power, open_sky, wrap


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


def _light_surface(albedo, normals, view, lit, light, gloss, power, open_sky, wrap) -> np.ndarray:
    out = albedo * light.irradiance(normals) * open_sky[:, None]
    lamps = ((light.key_direction, light.key, lit), (light.fill_direction, light.fill, open_sky))
    for direction, colour, reach in lamps:
        toward = direction.astype(np.float32)
        cosine = normals @ toward
        diffuse = np.clip((cosine[:, None] + wrap) / (1 + wrap), 0, None)
        # A shadow's edge on skin is redder than its middle.
        reached = reach[:, None] ** (1 - 1.2 * wrap)
        out += albedo * diffuse * reached * colour.astype(np.float32)
        half = view + toward
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        fresnel = 0.35 + 0.65 * (1 - np.clip(np.einsum("ni,ni->n", view, half), 0, 1)) ** 4
        peak = np.clip(np.einsum("ni,ni->n", normals, half), 0, 1) ** power
        strength = gloss * fresnel * peak * (power + 8) / 25 * reach * (cosine > 0)
        out += strength[:, None] * colour.astype(np.float32)
    return out


def _light_hair(found, scene, person, light, points, tangent, view, lit) -> np.ndarray:
    values = found.of(scene.local, scene.triangles)
    brightness, along = values[:, :1], values[:, 1:2]
    colour = srgb_to_linear(person.hair_colour)[None] * brightness
    depth = 0.45 + 0.55 * smoothstep(0.0, 0.5, along)
    # Normals of the bulk of the hair: away from the middle of the head.
    away = points - person.face_center.astype(np.float32)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    out = colour * light.irradiance(away) * depth * 0.8
    for direction, lamp, reach in ((light.key_direction, light.key, lit), (light.fill_direction, light.fill, 0.7)):
        toward = direction.astype(np.float32)
        across = np.sqrt(np.clip(1 - (tangent @ toward) ** 2, 0, 1))[:, None]
        bulk = np.clip(0.35 + 0.65 * (away @ toward), 0, 1)[:, None]
        half = view + toward
        half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
        sheen = np.clip(1 - np.einsum("ni,ni->n", tangent, half) ** 2, 0, 1)[:, None]
        reached = np.reshape(reach, (-1, 1)).astype(np.float32)
        shine = 0.05 * sheen**60 + colour * 0.5 * sheen**14
        out += lamp.astype(np.float32) * reached * bulk * (colour * across * depth + shine)
    return out.astype(np.float32)
