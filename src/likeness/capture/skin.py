"""Skin painted without a photograph: tone by ancestry, noise in three dimensions, brows, beard, freckles, lips."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import map_coordinates, zoom

from likeness.capture.assets import load_assets
from likeness.capture.identity import Identity
from likeness.capture.maps import rest_positions
from likeness.capture.parts import Part

TONES = np.array([[92, 58, 42], [214, 168, 134], [232, 190, 165]]) / 255.0
"""sRGB of African, Asian and Caucasian skin."""

# The window of the front of the face that strokes are drawn in, decimetres, and its pixels a decimetre.
WINDOW = (-0.9, 5.9, 0.9, 8.1)
DENSITY = 640
BROW = np.array(
    [(0.09, 7.42), (0.17, 7.455), (0.26, 7.475), (0.345, 7.497), (0.43, 7.485), (0.50, 7.455), (0.56, 7.42)]
)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """The sRGB curve undone, [0, 1]."""
    values = np.asarray(values, np.float32)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """The sRGB curve, [0, 1]."""
    values = np.clip(values, 0, 1).astype(np.float32)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055).astype(np.float32)


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(rng: np.random.Generator, positions: np.ndarray, wavelength: float) -> np.ndarray:
    """Band-limited noise of unit spread at rest positions (..., 3): a volume, so that no texture seam shows."""
    cells = rng.normal(size=(32, 32, 32)).astype(np.float32)
    places = np.moveaxis(positions / wavelength, -1, 0)
    return 1.6 * map_coordinates(cells, places, order=1, mode="grid-wrap", output=np.float32)


def spot(positions: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """A soft round patch on both sides of the face's front, 0 to 1."""
    front = smoothstep(0.5, 0.9, positions[..., 2])
    distance = np.hypot(np.abs(positions[..., 0]) - x, positions[..., 1] - y)
    return front * np.exp(-0.5 * (distance / radius) ** 2)


def paint_skin(identity: Identity, rng: np.random.Generator, hair: np.ndarray, beard: float):
    """Paint one person's skin.

    Args:
        hair: (3,) sRGB of brows and beard.
        beard: 0 shaven to 1 full.

    Returns:
        Linear albedo (1024, 1024, 3) float32 and labels (1024, 1024) uint8 of `Part`.
    """
    positions, _ = rest_positions()
    x, y, z = np.moveaxis(positions, -1, 0)
    masks = {name: mask.astype(np.float32) / 255 for name, mask in load_assets().masks.items()}
    tone = np.einsum("a,ac->c", identity.ancestry, TONES) * rng.uniform(0.94, 1.06, 3) * rng.uniform(0.96, 1.04)
    base = srgb_to_linear(np.clip(tone, 0.02, 0.95))
    dark = 1 - float(base.mean()) / 0.45

    mottle = (
        0.05 * noise(rng, positions, 0.35) + 0.05 * noise(rng, positions, 0.09) + 0.035 * noise(rng, positions, 0.03)
    )
    albedo = base * np.exp(mottle[..., None] * [0.7, 1.0, 1.1])
    flush = (
        spot(positions, 0.42, 6.95, 0.2) + 0.9 * spot(positions, 0, 6.9, 0.14) + 0.5 * spot(positions, 0, 6.25, 0.15)
    )
    flush = np.clip(flush + 0.6 * masks["ears"], 0, 1) * rng.uniform(0.5, 1.2)
    albedo *= 1 - flush[..., None] * np.array([0.03, 0.2, 0.17]) * (1 - 0.5 * max(dark, 0))
    socket = spot(positions, 0.33, 7.14, 0.09) + 0.8 * masks["eyelids"]
    albedo *= 1 - np.clip(socket, 0, 1)[..., None] * np.array([0.12, 0.2, 0.16])
    albedo *= (1 - 0.06 * noise(rng, positions, 0.6) * smoothstep(0.3, 0.8, np.abs(x)))[..., None]
    _age(albedo, identity.age, rng, x, y, z)

    lips = masks["lips"] * (1 - 0.12 * np.abs(np.sin(38 * x + 0.6 * noise(rng, positions, 0.1))))
    lip_colour = base * np.array([0.86, 0.50, 0.50]) + np.array([0.03, 0.0, 0.005])
    strength = rng.uniform(0.65, 1.0)
    albedo += (strength * lips)[..., None] * (lip_colour - albedo)
    albedo += masks["inside-mouth"][..., None] * (np.array([0.20, 0.035, 0.035]) - albedo)
    nails = np.maximum(masks["fingernails"], masks["toenails"])
    albedo += (0.5 * nails)[..., None] * (base * [1.1, 0.95, 0.95] - albedo)

    labels = np.full(x.shape, Part.SKIN, np.uint8)
    labels[masks["ears"] > 0.5] = Part.EARS
    front = smoothstep(0.75, 0.95, z) * (y < 8.1)
    hairs = srgb_to_linear(hair * 0.75)
    brows, whiskers = _strokes(rng, dark, beard)
    for drawn, label, colour, cover in ((whiskers, Part.BEARD, hairs, 0.85), (brows, Part.BROWS, hairs * 0.8, 0.92)):
        amount = _project(drawn, x, y) * front * (1 - masks["lips"]) * (1 - masks["inside-mouth"])
        # On dark skin the hairs are no darker than the skin: a darker ground keeps them visible.
        albedo += (cover * amount)[..., None] * (np.minimum(colour, 0.35 * base) - albedo)
        labels[amount > 0.3] = label
    labels[masks["lips"] > 0.5] = Part.LIPS
    labels[masks["inside-mouth"] > 0.5] = Part.MOUTH
    labels[nails > 0.5] = Part.NAILS
    _freckles(albedo, rng, identity, x, y, front)
    return np.clip(albedo, 0.003, 0.95).astype(np.float32), labels


def _age(albedo: np.ndarray, age: float, rng, x, y, z) -> None:
    if age < 0.25:
        return
    front = smoothstep(0.8, 1.0, z)
    lines = np.zeros_like(x)
    for height in (7.68, 7.79, 7.90):
        bend = height + 0.03 * np.cos(3 * x + rng.uniform(0, 6)) + rng.normal(0, 0.01)
        lines += np.exp(-(((y - bend) / 0.011) ** 2)) * (np.abs(x) < 0.45)
    side = np.abs(np.abs(x) - (0.26 + 0.5 * (6.98 - y) * 0.55))
    lines += 1.3 * np.exp(-((side / 0.02) ** 2)) * smoothstep(6.55, 6.65, y) * (1 - smoothstep(6.88, 6.98, y))
    crow = np.abs(x) - 0.52
    lines += 0.8 * np.exp(-(((y - 7.23 + 0.4 * np.abs(crow)) / 0.01) ** 2)) * (crow > 0) * (crow < 0.16)
    albedo *= 1 - (0.32 * (age - 0.2) * front * np.clip(lines, 0, 1.5))[..., None] * np.array([0.8, 1.0, 1.0])


def _freckles(albedo: np.ndarray, rng, identity: Identity, x, y, front) -> None:
    count = int(rng.poisson(6) + (rng.random() < 0.25 * identity.ancestry[2]) * 160)
    image = Image.new("L", _window_size(), 0)
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        u, v = rng.normal(0, 0.35), rng.normal(6.95, 0.25)
        radius = rng.uniform(0.004, 0.013) * DENSITY
        a, b = _to_window(u, v)
        pen.ellipse((a - radius, b - radius, a + radius, b + radius), fill=int(rng.uniform(40, 150)))
    amount = _project(np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), np.float32) / 255, x, y) * front
    albedo *= 1 - amount[..., None] * np.array([0.45, 0.6, 0.65])


def _strokes(rng: np.random.Generator, dark: float, beard: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of brow and beard hairs, drawn at twice the window's density."""
    brows, whiskers = Image.new("L", _window_size(), 0), Image.new("L", _window_size(), 0)
    pen = ImageDraw.Draw(brows)
    thick, lift = rng.uniform(0.75, 1.3), rng.normal(0, 0.012)
    for side in (-1, 1):
        for _ in range(int(rng.integers(320, 480))):
            t = rng.random()
            place = np.array([np.interp(t * 6, np.arange(7), BROW[:, k]) for k in (0, 1)])
            width = 0.034 * thick * (1.1 - 0.75 * t**2)
            root = place + [0, lift + rng.normal(0, 0.5) * width - 0.3 * width]
            lean = np.array([0.25 + 0.75 * t, 0.85 - 1.0 * t])
            tip = root + lean * rng.uniform(0.03, 0.07)
            ends = [_to_window(side * p[0], p[1]) for p in (root, tip)]
            pen.line([*ends[0], *ends[1]], fill=int(rng.uniform(150, 255)), width=2)
    pen = ImageDraw.Draw(whiskers)
    for _ in range(int(9000 * beard)):
        u, v = rng.uniform(-0.75, 0.75), rng.uniform(5.95, 6.95)
        if not _beard_region(u, v):
            continue
        a, b = _to_window(u, v)
        length = DENSITY * 0.05 * (0.3 + beard)
        pen.line([a, b, a + rng.normal(0, 3), b + length], fill=int(rng.uniform(90, 230)), width=2)
    if dark > 0.5:
        brows = Image.fromarray(np.minimum(255, 1.35 * np.asarray(brows, np.float32)).astype(np.uint8))
    soft = ImageFilter.GaussianBlur(1.0)
    under = np.asarray(brows.filter(ImageFilter.GaussianBlur(7)), np.float32) / 255
    drawn = np.asarray(brows.filter(soft), np.float32) / 255
    stubble = np.asarray(whiskers.filter(ImageFilter.GaussianBlur(9)), np.float32) / 255
    beards = np.asarray(whiskers.filter(soft), np.float32) / 255
    return np.clip(0.9 * drawn + 0.55 * under, 0, 1), np.clip(0.8 * beards + 0.5 * stubble, 0, 1)


def _beard_region(u: float, v: float) -> bool:
    jaw = v < 6.45 + 0.55 * max(0.0, abs(u) - 0.3)
    moustache = abs(u) < 0.3 and 6.66 < v < 6.80
    mouth = (u / 0.3) ** 2 + ((v - 6.56) / 0.1) ** 2 < 1
    sides = abs(u) > 0.55 and v < 6.95
    return (jaw or moustache or sides) and not mouth


def _window_size() -> tuple[int, int]:
    return int((WINDOW[2] - WINDOW[0]) * DENSITY), int((WINDOW[3] - WINDOW[1]) * DENSITY)


def _to_window(x: float, y: float) -> tuple[float, float]:
    return (x - WINDOW[0]) * DENSITY, (WINDOW[3] - y) * DENSITY


def _project(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A window's picture at rest positions; nothing outside of it."""
    out = np.zeros_like(x)
    inside = (x > WINDOW[0]) & (x < WINDOW[2]) & (y > WINDOW[1]) & (y < WINDOW[3])
    columns, rows = (x[inside] - WINDOW[0]) * DENSITY, (WINDOW[3] - y[inside]) * DENSITY
    # Texels are coarser than the window: averaging first keeps thin hairs from being skipped.
    small = zoom(image, 0.5, order=1)
    out[inside] = map_coordinates(small, [rows / 2 - 0.5, columns / 2 - 0.5], order=1, mode="nearest")
    return out
