"""A whole person: shape, painted skin, eyes, hair and clothes, made from one seed and kept in the cache."""

import functools
from dataclasses import dataclass

import numpy as np

from likeness.capture import eyes
from likeness.capture.assets import load_assets
from likeness.capture.body import METRES, Skeleton, skeleton_of
from likeness.capture.cache import cached
from likeness.capture.clothes import draw_outfit, dress, paint_clothes
from likeness.capture.expression import unit_columns
from likeness.capture.hair import COLOURS, STYLES, Hair, grow, scalp_shadow
from likeness.capture.identity import Identity, draw_identity
from likeness.capture.maps import rest_positions
from likeness.capture.parts import Part
from likeness.capture.skin import linear_to_srgb, paint_skin, srgb_to_linear

PERSON_VERSION = 4


@dataclass(frozen=True)
class Person:
    """Somebody in the rest pose, metres; the subject's left is +x, y is up, the front +z, the soles at y = 0."""

    seed: int
    identity: Identity
    style: str
    vertices: np.ndarray
    """(19158, 3) float32, clothes included."""
    skeleton: Skeleton
    texture: np.ndarray
    """(1024, 1024, 3) uint8 sRGB albedo, row 0 at v = 1."""
    labels: np.ndarray
    """(1024, 1024) uint8 `Part` of every texel."""
    hair: Hair
    """Points in metres."""
    hair_colour: np.ndarray
    """(3,) sRGB."""
    iris: np.ndarray
    """(3,) sRGB."""
    eye_centres: np.ndarray
    """(2, 3) metres, left then right."""
    eye_radii: np.ndarray
    """(2,) metres."""

    @functools.cached_property
    def face_center(self) -> np.ndarray:
        """(3,) metres: between the eyes and the mouth, inside the head."""
        middle = self.eye_centres.mean(0)
        return middle + [0, -0.02, -0.05]

    @property
    def height(self) -> float:
        """Metres from the soles to the crown."""
        return float(np.ptp(self.vertices[:13380, 1]))

    def with_expression(self, weights: np.ndarray) -> np.ndarray:
        """Rest vertices (19158, 3) under an expression (52,)."""
        out = self.vertices.copy()
        assets = load_assets()
        for column, weight in zip(unit_columns(), weights):
            if weight:
                ids, offsets = assets.target(assets.targets[column])
                out[ids] += np.float32(weight * METRES * self.identity.height) * offsets
        return out


def make_person(seed: int, style: str | None = None) -> Person:
    """The person that `seed` stands for; `style` overrides the hair style drawn for them.

    The first call takes seconds, later ones read the cache.

    Raises:
        ValueError: an unknown style.
    """
    if style is not None and style not in STYLES:
        raise ValueError(f"there is no hair style {style!r}: choose one of {', '.join(STYLES)}")
    rng = np.random.default_rng([seed, 1])
    identity = draw_identity(rng)
    style = style or draw_style(identity, rng)
    arrays = cached(f"person-{PERSON_VERSION}-{seed}-{style}", lambda: _build(seed, identity, style))
    skeleton = Skeleton(arrays["joints"], arrays["tails"])
    hair = Hair(arrays["strands"].astype(np.float32), float(arrays["hair_width"]), arrays["hair_shade"])
    rest = {key: arrays[key] for key in ("vertices", "texture", "labels", "hair_colour", "iris")}
    return Person(
        seed,
        identity,
        style,
        skeleton=skeleton,
        hair=hair,
        eye_centres=arrays["eyes"],
        eye_radii=arrays["radii"],
        **rest,
    )


def draw_style(identity: Identity, rng: np.random.Generator) -> str:
    """A hair style that suits age and gender more often than not."""
    male = identity.gender > 0.5
    share = dict.fromkeys(STYLES, 1.0)
    share |= (
        {"bald": 0.6 * identity.age, "buzz": 1.5, "short": 2.5, "long": 0.3, "bun": 0.2, "bob": 0.3}
        if male
        else {"bald": 0.0, "buzz": 0.15, "short": 0.6, "long": 2.0, "bun": 1.5, "bob": 1.8}
    )
    weights = np.array([share[name] for name in STYLES])
    return str(rng.choice(STYLES, p=weights / weights.sum()))


def _build(seed: int, identity: Identity, style: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, 2])
    assets = load_assets()
    naked = assets.morph(identity.target_weights())
    outfit = draw_outfit(rng)
    grey = rng.random() < chance_of_grey(identity.age)
    dark = identity.ancestry[0] + identity.ancestry[1] > 0.6
    hair_colour = COLOURS[6] * rng.uniform(0.7, 1.2) if grey else COLOURS[rng.integers(2 if dark else 6)]
    hair_colour = np.clip(hair_colour * rng.uniform(0.85, 1.15), 0, 1)
    iris = eyes.IRIS_COLOURS[rng.choice([0, 1, 5]) if dark else rng.integers(6)] * rng.uniform(0.85, 1.15)
    beard = float(rng.choice([0, 0.15, 0.5, 1.0], p=[0.5, 0.2, 0.15, 0.15])) if identity.gender > 0.5 else 0.0
    albedo, labels = paint_skin(identity, rng, hair_colour, beard)
    if style != "bald":
        cover = scalp_shadow(rest_positions()[0], assets.masks["ears"].astype(np.float32) / 255)
        # Skin between the roots gets little of the light that strands on top of it get.
        ground = srgb_to_linear(hair_colour * 0.5)
        albedo += (0.9 * cover)[..., None] * (ground - albedo)
        labels[cover > 0.5] = Part.HAIR
    paint_clothes(outfit, albedo, labels)
    hair = grow(style, naked, rng)
    dressed = dress(naked, outfit)
    scale = METRES * identity.height
    sole = dressed[:13380, 1].min()
    lift = np.array([0, -sole, 0], np.float32)
    centres, radii = eyes.place(naked)
    skeleton = skeleton_of(naked)
    return {
        "vertices": ((dressed + lift) * scale).astype(np.float32),
        "joints": (skeleton.joints + lift) * scale,
        "tails": (skeleton.tails + lift) * scale,
        "texture": np.round(255 * linear_to_srgb(albedo)).astype(np.uint8),
        "labels": labels,
        "strands": ((hair.points + lift) * scale).astype(np.float32),
        "hair_width": np.array(hair.width * scale),
        "hair_shade": hair.shade,
        "hair_colour": hair_colour,
        "iris": np.clip(iris, 0, 1),
        "eyes": (centres + lift) * scale,
        "radii": radii * scale,
    }


def chance_of_grey(age: float) -> float:
    """Chance of grey hair at an age of 0 to 1."""
    return float(np.clip((age - 0.5) / 0.4, 0, 0.95))
