"""Clothes: painted on the body's own surface and lifted off it, so that texture, weights and normals stay exact."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags

from likeness.capture.assets import load_assets
from likeness.capture.body import surface, vertex_normals
from likeness.capture.maps import rest_positions
from likeness.capture.parts import Part
from likeness.capture.skin import noise, smoothstep, srgb_to_linear

SLEEVES = (2.15, 2.75, 4.05)
"""|x| of the sleeves' ends on the rest body, decimetres: short, elbow, long."""
SMOOTHING = 60
PATTERNS = ("plain", "stripes", "blocks", "check")


@dataclass(frozen=True)
class Outfit:
    """What somebody wears."""

    sleeve: float
    neckline: float
    v_neck: float
    hem: float
    trousers_end: float
    looseness: float
    pattern: str
    colours: np.ndarray
    """(4, 3) linear RGB: top, its second colour, trousers, shoes."""
    fold_seed: int


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """A random outfit."""
    colours = np.array([_cloth_colour(rng) for _ in range(4)])
    colours[2] = srgb_to_linear(
        np.array([[38, 52, 88], [40, 40, 44], [92, 80, 62], [70, 76, 82]])[rng.integers(4)] / 255.0
    )
    colours[3] = srgb_to_linear(np.array([[30, 28, 28], [196, 196, 192], [80, 52, 36]])[rng.integers(3)] / 255.0)
    return Outfit(
        sleeve=float(rng.choice(SLEEVES)),
        neckline=float(rng.uniform(5.85, 6.02)),
        v_neck=float(rng.choice([0, 0, 0.9])),
        hem=float(rng.uniform(-0.35, 0.25)),
        trousers_end=float(rng.choice([-7.4, -7.4, -7.4, -3.0])),
        looseness=float(rng.uniform(0.7, 1.3)),
        pattern=str(rng.choice(PATTERNS, p=[0.5, 0.25, 0.13, 0.12])),
        colours=colours,
        fold_seed=int(rng.integers(2**31)),
    )


def coverage(outfit: Outfit, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far inside the top, the trousers and the shoes rest positions (..., 3) lie, decimetres; negative outside."""
    x, y, z = np.moveaxis(positions, -1, 0)
    front = smoothstep(0.1, 0.7, z)
    neck = outfit.neckline - y - outfit.v_neck * np.maximum(0.35 - np.abs(x), 0) * front
    neck += 0.25 * np.minimum(np.abs(x), 0.8) * (1 - front)
    arm = (np.abs(x) > 1.75) & (y > 1.0)
    top = np.minimum(np.minimum(neck, outfit.sleeve - np.abs(x)), np.where(arm, 9.0, y - outfit.hem))
    trousers = np.minimum(np.where((np.abs(x) < 2.9) & (y < 1.2), 1.0 - y, -1.0), y - outfit.trousers_end)
    shoes = -7.6 - y
    return top, trousers, shoes


def dress(vertices: np.ndarray, outfit: Outfit) -> np.ndarray:
    """The morphed rest body (19158, 3) in decimetres with its clothes lifted off the skin."""
    rest = load_assets().vertices
    top, trousers, shoes = coverage(outfit, rest)
    rng = np.random.default_rng(outfit.fold_seed)
    inside_top, inside_legs = smoothstep(-0.02, 0.12, top), smoothstep(-0.02, 0.12, trousers)
    cloth = np.maximum(inside_top, inside_legs)
    smooth = vertices.copy()
    matrix, amount = _averaging(), (cloth * 0.9)[:, None].astype(np.float32)
    for _ in range(SMOOTHING):
        smooth += amount * (matrix @ smooth - smooth)
    normals = vertex_normals(smooth)
    # Smoothing shrinks: what went inwards is brought back before the cloth is lifted.
    lost = np.maximum(np.einsum("vi,vi->v", vertices - smooth, normals), 0)
    y = rest[:, 1]
    # Wider at the hem, the sleeves' ends and the ankles, as cloth that hangs.
    flare = 0.10 * np.exp(-np.abs(top) / 0.7) * (y < 3.2) + 0.14 * smoothstep(-3.0, -7.2, y) * inside_legs
    folds = 0.022 * noise(rng, rest * [1.0, 0.35, 1.0], 0.6) + 0.010 * noise(rng, rest * [1.0, 0.7, 1.0], 0.22)
    lift = (
        outfit.looseness * (0.10 * inside_top + 0.08 * inside_legs * (1 - inside_top) + flare * cloth) + folds * cloth
    )
    lift = np.maximum(lift, 0.02 * cloth) + 0.06 * smoothstep(0, 0.1, shoes)
    return (smooth + (lost * cloth + lift)[:, None] * normals).astype(np.float32)


def paint_clothes(outfit: Outfit, albedo: np.ndarray, labels: np.ndarray) -> None:
    """Paint the outfit over a skin texture (1024, 1024, 3) and its labels, in place."""
    positions, _ = rest_positions()
    rng = np.random.default_rng(outfit.fold_seed + 1)
    x, y, _ = np.moveaxis(positions, -1, 0)
    weave = np.exp(0.05 * noise(rng, positions, 0.04) + 0.05 * noise(rng, positions, 0.5))[..., None]
    ragged = 0.008 * noise(rng, positions, 0.2)
    top, trousers, shoes = coverage(outfit, positions)
    second = {
        "plain": np.zeros(x.shape, bool),
        "stripes": np.sin(2 * np.pi * y / 0.55) > 0.35,
        "blocks": y < 3.4,
        "check": (np.sin(2 * np.pi * x / 0.8) > 0.55) ^ (np.sin(2 * np.pi * y / 0.8) > 0.55),
    }[outfit.pattern]
    colours = np.where(second[..., None], outfit.colours[1], outfit.colours[0])
    # A seam a little darker runs along every border.
    seam = 1 - 0.35 * np.exp(-((top - 0.07) ** 2) / 0.0002)
    for inside, colour, label in (
        (trousers, outfit.colours[2] * np.ones_like(albedo), Part.TROUSERS),
        (shoes, outfit.colours[3] * np.ones_like(albedo), Part.SHOES),
        (top, colours * seam[..., None], Part.TOP),
    ):
        amount = smoothstep(-0.008, 0.008, inside + ragged)[..., None]
        albedo += amount * (colour * weave - albedo)
        labels[inside + ragged > 0] = label
    sole = smoothstep(-8.05, -8.12, y)[..., None]
    albedo += sole * (0.5 * outfit.colours[3] + 0.1 - albedo) * (shoes > 0)[..., None]


@functools.cache
def _averaging() -> csr_matrix:
    triangles, count = surface("body").triangles, len(load_assets().vertices)
    rows = triangles[:, [0, 1, 2, 1, 2, 0]].ravel()
    columns = triangles[:, [1, 2, 0, 0, 1, 2]].ravel()
    links = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(count, count))
    links.data[:] = 1
    degree = np.asarray(links.sum(1)).ravel()
    alone = degree == 0
    return (diags(1 / np.maximum(degree, 1)) @ links + diags(alone.astype(np.float32))).tocsr().astype(np.float32)


def _cloth_colour(rng: np.random.Generator) -> np.ndarray:
    hue, strength, value = rng.random(), rng.uniform(0.1, 0.65), rng.uniform(0.15, 0.9)
    channel = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return srgb_to_linear(value * (1 - strength + strength * np.clip(channel, 0, 1)))
