"""Cloth that gathers where joints bend: the part of a body's surface and colour that skinning cannot explain."""

from dataclasses import dataclass, replace

import numpy as np

from likeness.capture.assets import load_assets
from likeness.capture.body import surface
from likeness.capture.maps import TEXTURE_SIZE, unwrap
from likeness.capture.parts import Part
from likeness.capture.performance import Performance
from likeness.capture.person import Person
from likeness.capture.skin import linear_to_srgb, srgb_to_linear

HEIGHT = 0.016
"""Metres that a full fold lifts cloth off the body."""
REACH = 0.17
"""Metres from the joint in which cloth gathers."""
WAVE = 0.055
"""Metres between two folds."""
FULL_BEND = 1.1
"""Radians at which folds are full."""
SHADE = 0.55
"""Share of its colour that cloth loses in the valley of a full fold."""
BARE = 0.35
"""Height of folds on bare skin, as a share of those of cloth."""
JOINTS = ("lowerarm", "upperarm", "calf", "thigh")


@dataclass(frozen=True)
class Folds:
    """Folds of one pose, per vertex of the base mesh."""

    lift: np.ndarray
    """(19158,) metres outwards."""
    shade: np.ndarray
    """(19158,) share of the colour that is lost."""


def folds(person: Person, act: Performance) -> Folds:
    """Folds around every bent joint: rings about the limb that grow with the angle."""
    assets, pose = load_assets(), act.bones()
    cloth = _cloth(person)
    lift, shade = np.zeros(len(person.vertices)), np.zeros(len(person.vertices))
    for name in (f"{joint}_{side}" for joint in JOINTS for side in "lr"):
        bone = assets.bones.index(name)
        bend = min(float(np.linalg.norm(pose.get(name, np.zeros(3)))) / FULL_BEND, 1.0)
        offset = person.vertices - person.skeleton.joints[bone]
        axis = person.skeleton.tails[bone] - person.skeleton.joints[bone]
        along = offset @ (axis / np.linalg.norm(axis))
        moved = np.isin(assets.skin_bones, (bone, assets.parents[bone]))
        limb = (assets.skin_weights * moved).sum(1)
        near = bend * limb * np.exp(-((offset**2).sum(1)) / REACH**2)
        crest = 0.5 + 0.5 * np.sin(2 * np.pi * along / WAVE)
        lift = np.maximum(lift, HEIGHT * near * (0.4 + 0.6 * crest))
        shade = np.maximum(shade, SHADE * near * (1 - crest))
    return Folds(lift * np.maximum(cloth, BARE), shade * cloth)


def folded(person: Person, act: Performance, normals: np.ndarray) -> Person:
    """The person with the pose's folds in surface and texture; `normals` (19158, 3) are those of the rest pose."""
    made = folds(person, act)
    vertices = (person.vertices + made.lift[:, None] * normals).astype(np.float32)
    shade, _ = unwrap(made.shade[:, None].astype(np.float32), TEXTURE_SIZE)
    colours = srgb_to_linear(person.texture / 255.0) * (1 - shade)
    return replace(person, vertices=vertices, texture=np.round(255 * linear_to_srgb(colours)).astype(np.uint8))


def _cloth(person: Person) -> np.ndarray:
    """(19158,) 1 where a vertex wears top or trousers."""
    body = surface("body")
    places = np.clip(body.corners_uv * [1, -1] + [0, 1], 0, 1 - 1e-6) * TEXTURE_SIZE
    columns, rows = np.moveaxis(places.astype(int), -1, 0)
    worn = np.zeros(len(person.vertices))
    worn[body.triangles] = np.isin(person.labels[rows, columns], (Part.TOP, Part.TROUSERS))
    return worn
