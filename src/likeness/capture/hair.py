"""Hair: strands grown from a hairline, combed, clumped and pushed out of the head."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from likeness.capture.assets import load_assets
from likeness.capture.body import surface, vertex_normals
from likeness.capture.skin import smoothstep

STYLES = ("buzz", "short", "side", "bob", "long", "bun", "curly", "bald")
COLOURS = (
    np.array([[22, 18, 17], [38, 27, 21], [66, 43, 27], [104, 70, 40], [148, 112, 70], [112, 54, 28], [150, 148, 146]])
    / 255.0
)
"""sRGB: black, dark brown, brown, light brown, blond, red, grey."""
STRANDS = 5000
CLUMPS = 160
WIDE_ENOUGH, FEWEST = 3.0, 0.3
"""Samples that a strand's root covers before strands are left out, and the share of them that always stays."""
CENTRE = np.array([0.0, 7.45, 0.15])
"""Middle of the rest head, decimetres."""


@dataclass(frozen=True)
class Hair:
    """Strands in the rest pose."""

    points: np.ndarray
    """(S, P, 3) float32 decimetres, root first."""
    width: float
    """Ribbon width at the root, decimetres."""
    shade: np.ndarray
    """(S,) float32 brightness of each strand, about 1."""


@dataclass(frozen=True)
class Cut:
    """How a style grows: lengths in decimetres."""

    length: float
    points: int
    lift: float
    gravity: float
    comb: tuple[float, float, float]
    layer: float
    curl: float = 0.0
    part: float | None = None


CUTS = {
    "buzz": Cut(0.10, 3, 1.0, 0.0, (0, -0.2, 0.2), 0.03),
    "short": Cut(0.45, 6, 0.45, 0.15, (0.25, 0.35, -0.25), 0.10),
    "side": Cut(0.85, 8, 0.30, 0.45, (0.0, 0.0, 0.15), 0.12, part=-0.22),
    "bob": Cut(2.1, 9, 0.12, 0.95, (0, 0, 0), 0.14, part=0.12),
    "long": Cut(3.9, 11, 0.12, 0.95, (0, 0, 0), 0.15, part=0.0),
    "bun": Cut(1.5, 10, 0.02, 0.0, (0, 0.1, -1.0), 0.05),
    "curly": Cut(0.75, 9, 0.40, 0.25, (0, 0.05, -0.1), 0.16, curl=0.10),
}


def grow(style: str, vertices: np.ndarray, rng: np.random.Generator) -> Hair:
    """Grow a style on a morphed rest body (19158, 3), decimetres."""
    if style == "bald":
        return Hair(np.zeros((0, 2, 3), np.float32), 0.0, np.zeros(0, np.float32))
    cut = CUTS[style]
    roots, normals, rest = _roots(vertices, rng)
    head = (load_assets().vertices[:, 1] > 5.3) & (np.arange(len(vertices)) < 13380)
    skull, skull_normals = vertices[head], vertex_normals(vertices)[head]
    tree = cKDTree(skull)
    clump = rng.integers(CLUMPS, size=len(roots))
    clump_shift = rng.normal(0, 1, (CLUMPS, 3))
    anchors = rest[rng.integers(len(rest), size=CLUMPS)]
    clump = cKDTree(anchors).query(rest)[1]
    length = cut.length * rng.uniform(0.82, 1.05, len(roots)) * (1 + 0.06 * clump_shift[clump, 0])
    if style in ("short", "side", "curly"):
        # Shorter at the nape and the sides.
        length *= 0.35 + 0.65 * smoothstep(6.9, 7.9, rest[:, 1])
    layer = cut.layer * rng.uniform(0.15, 1.0, len(roots)) ** 1.2
    step = (length / (cut.points - 1))[:, None]
    comb = _comb(cut, rest, normals) + 0.10 * clump_shift[clump] + rng.normal(0, 0.05, rest.shape)
    points = [roots]
    position = roots.copy()
    down = np.array([0, -1.0, 0])
    # Hair that hangs soon forgets where it was combed to.
    fade = 4.0 if cut.gravity > 0.8 else 0.7
    phase = rng.uniform(0, 2 * np.pi, len(roots))
    for k in range(1, cut.points):
        t = k / (cut.points - 1)
        heading = cut.lift * np.exp(-3 * t) * normals + comb * np.exp(-fade * t) + cut.gravity * (0.25 + 1.2 * t) * down
        if style == "bun":
            knot = CENTRE + [0, 0.25, -1.15]
            heading = (knot - position) * 1.0
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-6)
        position = position + step * heading
        if cut.curl:
            angle = phase + 9 * t
            swirl = np.stack([np.cos(angle), np.sin(1.3 * angle), np.sin(angle)], 1)
            position = position + cut.curl * t**0.5 * 0.6 * swirl * 0.5
        _, nearest = tree.query(position)
        outside = np.einsum("si,si->s", position - skull[nearest], skull_normals[nearest])
        wanted = np.minimum(layer, 0.03 + layer * 3 * t)
        position = position + np.maximum(wanted - outside, 0)[:, None] * skull_normals[nearest]
        points.append(position.copy())
    strands = np.stack(points, 1)
    shift = vertices[head].mean(0) - load_assets().vertices[head].mean(0)
    local = strands - shift
    face = (local[..., 2] > 0.95) & (np.abs(local[..., 0]) < 0.62) & (local[..., 1] > 6.0) & (local[..., 1] < 7.80)
    keep = ~face.any(1)
    shade = (1 + 0.16 * clump_shift[clump, 1] + rng.normal(0, 0.10, len(roots)))[keep]
    width = {"buzz": 0.013, "curly": 0.018}.get(style, 0.017)
    return Hair(strands[keep].astype(np.float32), width, np.clip(shade, 0.5, 1.6).astype(np.float32))


def coarser(hair: Hair, sample: float) -> Hair:
    """The hair for a picture whose samples are `sample` long, in the unit of the points: fewer and wider strands.

    Strands are in random order, so that the first of them stand for all. Their cover shrinks a little less than their
    number, since fewer overlap; none is thinner than a sample.
    """
    share = float(np.clip(hair.width / max(WIDE_ENOUGH * sample, 1e-9), FEWEST, 1))
    kept = int(np.ceil(share * len(hair.points)))
    width = max(hair.width * share**-0.8, 0.8 * sample)
    return Hair(hair.points[:kept], width, hair.shade[:kept])


def hairline(positions: np.ndarray) -> np.ndarray:
    """How far above the hairline rest positions (..., 3) lie, decimetres."""
    x, y, z = np.moveaxis(positions - CENTRE, -1, 0)
    angle = np.abs(np.arctan2(x, z))
    line = np.interp(
        angle, [0, 0.45, 0.85, 1.15, 1.45, 1.75, 2.3, np.pi], [7.98, 7.96, 7.78, 7.38, 7.22, 6.95, 6.62, 6.45]
    )
    return y + CENTRE[1] - line


def scalp_shadow(positions: np.ndarray, ears: np.ndarray) -> np.ndarray:
    """How much of the scalp's texture hair covers at rest positions, 0 to 1."""
    return smoothstep(-0.05, 0.12, hairline(positions)) * (1 - ears) * (positions[..., 1] > 6.3)


def _roots(vertices: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rest, triangles = load_assets().vertices, surface("body").triangles
    middle = rest[triangles].mean(1)
    ear = (np.abs(middle[:, 0]) > 0.70) & (middle[:, 1] < 7.55) & (middle[:, 2] > -0.15)
    triangles = triangles[(hairline(middle) > 0) & (middle[:, 1] > 6.3) & ~ear]
    a, b, c = (rest[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = triangles[rng.choice(len(triangles), STRANDS, p=area / area.sum())]
    u, v = rng.random((2, STRANDS, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)

    def mix(values: np.ndarray) -> np.ndarray:
        p, q, r = (values[chosen[:, k]] for k in range(3))
        return p + u * (q - p) + v * (r - p)

    normals = mix(vertex_normals(vertices))
    return mix(vertices), normals / np.linalg.norm(normals, axis=1, keepdims=True), mix(rest)


def _comb(cut: Cut, rest: np.ndarray, normals: np.ndarray) -> np.ndarray:
    comb = np.tile(np.array(cut.comb, np.float64), (len(rest), 1))
    if cut.part is not None:
        side = np.tanh((rest[:, 0] - cut.part) / 0.08)
        # Away from the parting and backwards off the forehead.
        comb[:, 0] += side * 0.9 * smoothstep(7.3, 8.2, rest[:, 1])
        comb[:, 2] -= 0.35 * smoothstep(0.4, 1.0, rest[:, 2])
    return comb - np.einsum("si,si->s", comb, normals)[:, None] * normals
