"""The stage: a person, what they do, a camera and a light in; a picture with its exact truth out."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from likeness.capture.assets import LASHES, load_assets
from likeness.capture.body import surface
from likeness.capture.landmarks import KEPT_66, LANDMARK_VERTICES
from likeness.capture.light import Light
from likeness.capture.parts import Part
from likeness.capture.performance import Performance
from likeness.capture.person import Person
from likeness.capture.scene import Scene, assemble
from likeness.capture.shading import ShadowMap, describe, shade
from likeness.capture.skin import linear_to_srgb
from likeness.geometry.camera import Camera, look_at
from likeness.render.rasterise import Raster, rasterise

SUPERSAMPLE = 2
LASH_COVER = np.float32(0.38)
VISIBLE_WITHIN = 0.008
"""Metres that a landmark may lie behind the surface the camera sees and still count as visible."""


@dataclass(frozen=True)
class Frame:
    """One picture and its truth. Maps are taken at pixel centres; lengths are metres."""

    image: Tensor
    """(3, H, W) float32 RGB in [0, 1]: sRGB in steps of 1/255."""
    linear: Tensor
    """(3, H, W) float32 linear radiance before exposure and tone curve."""
    alpha: Tensor
    """(1, H, W) float32 in [0, 1]: how much of the pixel the person covers."""
    depth: Tensor
    """(1, H, W) float32 along the camera's axis; 0 where the person is not."""
    parts: Tensor
    """(H, W) uint8 of `Part`. Lashes cover what is behind them only in part: depth, normal and texture coordinates are
    those of what is behind."""
    uv: Tensor
    """(2, H, W) float32 texture coordinates of the body's surface, v up; 0 elsewhere."""
    normals: Tensor
    """(3, H, W) float32 unit normals in the world; for hair the strand's direction; 0 where the person is not."""
    landmarks: Tensor
    """(68, 3) float64 in the world; row i of the 66 points is row `KEPT_66[i]`."""
    pixels: Tensor
    """(68, 2) float64 pixel coordinates."""
    landmark_depth: Tensor
    """(68,) float64 along the camera's axis."""
    visible: Tensor
    """(68,) bool: in the picture and not hidden."""
    joints: Tensor
    """(53, 3) float64 posed joints in the world, by `load_assets().bones`."""
    transforms: Tensor
    """(53, 4, 4) float64 bones, rest pose to pose."""
    vertices: Tensor
    """(19158, 3) float32 posed vertices of the base mesh in the world."""
    camera: Camera

    @property
    def landmarks_66(self) -> Tensor:
        """(66, 3) float64 x, y in pixels and z in pixels at the face's own distance, growing away from the camera."""
        kept = torch.from_numpy(KEPT_66)
        depth = self.landmark_depth[kept]
        focal = self.camera.intrinsics[0, 0].double()
        return torch.column_stack([self.pixels[kept], (depth - depth.mean()) * focal / depth.mean()])


def portrait_camera(
    person: Person,
    size: tuple[int, int] = (256, 256),
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    distance: float = 1.4,
    zoom: float = 1.0,
) -> Camera:
    """A camera `distance` metres from the head's middle, `yaw` to the subject's left and `pitch` above, radians.

    At `zoom` 1 the picture is 0.40 m high at the head.
    """
    middle = person.face_center - [0, 0.005, 0]
    return orbit_camera(middle, size, yaw, pitch, distance, height=0.40 / zoom)


def body_camera(
    person: Person, size: tuple[int, int] = (256, 256), *, yaw: float = 0.0, pitch: float = 0.05, distance: float = 4.5
) -> Camera:
    """A camera that sees the whole body with room for the arms."""
    middle = np.array([0, 0.52 * person.height, 0.0])
    return orbit_camera(middle, size, yaw, pitch, distance, height=1.30 * person.height)


def orbit_camera(
    middle: np.ndarray, size: tuple[int, int], yaw: float, pitch: float, distance: float, height: float
) -> Camera:
    """A camera on a sphere about `middle`; the picture's height is `height` metres there."""
    direction = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    target = torch.tensor(middle, dtype=torch.float64)
    position = target + distance * torch.tensor(direction)
    rotation, translation = look_at(position, target, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    focal = size[0] * distance / height
    intrinsics = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]], dtype=torch.float64)
    return Camera(intrinsics, rotation, translation, size)


def cropped(camera: Camera, left: float, top: float, side: float, size: tuple[int, int]) -> Camera:
    """The camera of the square or box from (left, top), `side` pixels high, resampled to `size` (height, width)."""
    scale = size[0] / side
    intrinsics = camera.intrinsics.clone()
    intrinsics[0, 2] -= left
    intrinsics[1, 2] -= top
    intrinsics[:2] *= scale
    return replace(camera, intrinsics=intrinsics, size=size)


def take(
    person: Person,
    act: Performance,
    camera: Camera,
    light: Light,
    *,
    seed: int = 0,
    floor: bool = False,
    keyed: bool = False,
) -> Frame:
    """Take a picture.

    Args:
        seed: of the sensor's noise.
        floor: a floor at y = 0 receives the person's shadow; otherwise the wall alone stands behind.
        keyed: a studio for whole bodies: the wall is replaced by pure white, and shadows fall right on all of the body,
            as with a floor; otherwise they are finer and right around the head.
    """
    centre = camera.position.numpy()
    large = camera.resized((SUPERSAMPLE * camera.size[0], SUPERSAMPLE * camera.size[1]))
    scene = assemble(person, act, centre, 1 / float(large.intrinsics[0, 0]))
    around_head = (person.face_center + act.root, 0.45)
    shadow = body_shadow(scene, light) if floor or keyed else ShadowMap(scene, light, *around_head)
    places = _project(scene.vertices, large)
    triangles = torch.from_numpy(scene.triangles)
    raster = rasterise(torch.from_numpy(places)[None], triangles, large.size)
    radiance = _backdrop(large, light, shadow if floor else None)
    shade(raster, scene, person, centre, shadow, radiance)
    _draw_lashes(radiance, places, raster)
    cover = (raster.triangle[0].numpy() >= 0).astype(np.float32)
    if keyed:
        radiance *= cover[..., None]
    radiance, cover = (_shrink(values.reshape(*large.size, -1)) for values in (radiance, cover))
    image = _develop(radiance, light, seed, cover if keyed else None)
    return _truth(person, scene, camera, places, radiance, cover, image)


def body_shadow(scene: Scene, light: Light) -> ShadowMap:
    """Shadows on the whole of a standing body."""
    return ShadowMap(scene, light, scene.joints[1], 1.35)


def _truth(person, scene: Scene, camera: Camera, places, radiance, cover, image) -> Frame:
    small = places * np.array([1 / SUPERSAMPLE, 1 / SUPERSAMPLE, 1], np.float32)
    # Ribbons are drawn a sample wide; at pixel centres they must be a pixel wide to leave no holes. All of them are
    # drawn: to leave out what no sample shows would make the truth at a crop's border depend on the crop.
    pairs = small[scene.hair_start :].reshape(-1, 2, 3)
    middle = pairs.mean(1, keepdims=True)
    pairs[:] = middle + SUPERSAMPLE * (pairs - middle)
    raster = rasterise(torch.from_numpy(small)[None], torch.from_numpy(scene.triangles), camera.size)
    parts, uv, normals = describe(raster, scene, person)
    lashes, rows, columns = _lash_cards(small, raster)
    parts[rows, columns][lashes] = Part.LASHES
    landmarks = torch.from_numpy(scene.vertices[LANDMARK_VERTICES].astype(np.float64))
    pixels, depth = camera.project(landmarks)
    return Frame(
        image=torch.from_numpy(image).movedim(-1, 0).contiguous(),
        linear=torch.from_numpy(radiance).movedim(-1, 0).contiguous(),
        alpha=torch.from_numpy(cover).movedim(-1, 0).contiguous(),
        depth=raster.depth,
        parts=torch.from_numpy(parts),
        uv=torch.from_numpy(uv).movedim(-1, 0).contiguous(),
        normals=torch.from_numpy(normals).movedim(-1, 0).contiguous(),
        landmarks=landmarks,
        pixels=pixels,
        landmark_depth=depth,
        visible=_visible(pixels, depth, raster.depth[0]),
        joints=torch.from_numpy(scene.joints),
        transforms=torch.from_numpy(scene.transforms),
        vertices=torch.from_numpy(scene.vertices[: len(load_assets().vertices)]),
        camera=camera,
    )


def _draw_lashes(radiance: np.ndarray, places: np.ndarray, behind: Raster) -> None:
    """Darken what lies behind the lashes' cards, which hairs cover only in part."""
    drawn, rows, columns = _lash_cards(places, behind)
    window = radiance[rows, columns]
    window[drawn] += LASH_COVER * (np.float32(0.012) - window[drawn])


def _lash_cards(places: np.ndarray, behind: Raster) -> tuple[np.ndarray, slice, slice]:
    """Where the lashes' cards are seen before a raster: a mask (h, w) of some rows and columns."""
    height, width = behind.depth.shape[1:]
    lashes = torch.from_numpy(places[LASHES.start : LASHES.stop])[None]
    low, high = lashes[0, :, :2].amin(0).floor(), lashes[0, :, :2].amax(0).ceil()
    left, top = (int(v) for v in low.clamp(min=0))
    right, bottom = min(int(high[0]), width), min(int(high[1]), height)
    if left >= right or top >= bottom:
        return np.zeros((0, 0), bool), slice(0), slice(0)
    shifted = lashes - torch.tensor([left, top, 0.0])
    triangles = torch.from_numpy(surface("lashes").triangles - LASHES.start)
    cards = rasterise(shifted, triangles, (bottom - top, right - left)).depth[0].numpy()
    rest = behind.depth[0, top:bottom, left:right].numpy()
    drawn = (cards > 0) & ((cards < rest + 0.001) | (rest == 0))
    return drawn, slice(top, bottom), slice(left, right)


def _project(vertices: np.ndarray, camera: Camera) -> np.ndarray:
    rotation, translation = camera.rotation.numpy(), camera.translation.numpy()
    local = vertices @ rotation.T.astype(np.float32) + translation.astype(np.float32)
    focal = camera.intrinsics.numpy().astype(np.float32)
    out = np.empty_like(local)
    out[:, 2] = local[:, 2]
    out[:, 0] = local[:, 0] / local[:, 2] * focal[0, 0] + focal[0, 2]
    out[:, 1] = local[:, 1] / local[:, 2] * focal[1, 1] + focal[1, 2]
    return out


def _visible(pixels: Tensor, depth: Tensor, seen: Tensor) -> Tensor:
    """A landmark is visible when the surface in the 3x3 pixels about it reaches as far back as the landmark."""
    height, width = seen.shape
    column, row = pixels.floor().long().unbind(-1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    step = torch.arange(-1, 2)
    rows = (row[:, None, None] + step[:, None]).clamp(0, height - 1)
    columns = (column[:, None, None] + step).clamp(0, width - 1)
    about = seen[rows, columns].flatten(1)
    # Where nothing was drawn nothing hides.
    reach = torch.where(about > 0, about, torch.inf).amax(1)
    return inside & (depth < reach + VISIBLE_WITHIN)


def _backdrop(camera: Camera, light: Light, shadow: ShadowMap | None) -> np.ndarray:
    height, width = camera.size
    wall = cv2.resize(light.background.astype(np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)
    wall = cv2.GaussianBlur(np.maximum(wall, 0.005), (0, 0), 3)
    wall = cv2.resize(wall, (width, height), interpolation=cv2.INTER_LINEAR)
    if shadow is None:
        return wall
    rotation, centre = camera.rotation.numpy(), camera.position.numpy()
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    plane = np.linalg.inv(camera.intrinsics.numpy()) @ np.stack(
        [columns.ravel(), rows.ravel(), np.ones(height * width)]
    )
    rays = (rotation.T @ plane).T
    down = rays[:, 1] < -1e-4
    reach = np.where(down, -centre[1] / np.where(down, rays[:, 1], -1), 1e6)
    points = (centre + reach[:, None] * rays).astype(np.float32)
    on_floor = down & (np.linalg.norm(points[:, [0, 2]], axis=1) < 4.0)
    near = on_floor & (np.linalg.norm(points[:, [0, 2]], axis=1) < 1.4)
    lit = np.ones(len(points), np.float32)
    lit[near] = shadow.lit(points[near])
    # Feet keep the sky off the floor around them.
    contact = 1 - 0.35 * np.exp(-((points[:, 0] / 0.28) ** 2) - (points[:, 2] / 0.22) ** 2)
    up = light.irradiance(np.array([[0, 1.0, 0]], np.float32))
    steep = max(float(light.key_direction[1]), 0.0)
    floor = light.floor * (contact[:, None] * up + lit[:, None] * steep * light.key)
    fade = np.clip((4.0 - np.linalg.norm(points[:, [0, 2]], axis=1)) / 2.0, 0, 1)[:, None] * on_floor[:, None]
    return (wall.reshape(-1, 3) * (1 - fade) + floor * fade).astype(np.float32).reshape(height, width, 3)


def _shrink(values: np.ndarray) -> np.ndarray:
    height, width, channels = values.shape
    size = (width // SUPERSAMPLE, height // SUPERSAMPLE)
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)


def _develop(radiance: np.ndarray, light: Light, seed: int, cover: np.ndarray | None = None) -> np.ndarray:
    """Exposure, tone curve, a lens's slight blur, sRGB, sensor noise, 8 bits; white where `cover` (H, W, 1) is open.

    With `cover` the radiance is that of the person alone. White is laid behind developed values: light of a wall bright
    enough to develop to white would outshine the person's edge.
    """
    share = 1.0 if cover is None else np.maximum(cover, 1e-6)
    curve = share * (1 - np.exp(-1.55 * light.exposure * radiance / share))
    if cover is not None:
        curve = curve + (1 - cover)
    soft = cv2.GaussianBlur(curve, (0, 0), 0.42)
    encoded = linear_to_srgb(soft)
    encoded += np.float32(light.noise) * np.random.default_rng([seed, 3]).standard_normal(encoded.shape, np.float32)
    return (np.floor(np.clip(encoded, 0, 1) * 255 + 0.5) / 255).astype(np.float32)
