"""Whole-body motions: smooth, periodic where walking is, and within what joints allow."""

from dataclasses import replace

import numpy as np

from likeness.capture.assets import BODY
from likeness.capture.body import bone_transforms, skin
from likeness.capture.expression import expression
from likeness.capture.performance import Performance, with_lids
from likeness.capture.person import Person

MOTIONS = ("walk", "wave", "squat", "turn", "reach", "idle")

LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "thigh": ((-1.9, 0.6), (-0.6, 0.6), (-0.7, 0.7)),
    "calf": ((0.0, 2.3), (-0.1, 0.1), (-0.1, 0.1)),
    "foot": ((-0.6, 0.7), (-0.4, 0.4), (-0.3, 0.3)),
    "upperarm": ((-1.9, 0.9), (-1.2, 1.2), (-2.2, 2.2)),
    "lowerarm": ((-2.4, 0.1), (-1.3, 1.3), (-2.0, 2.0)),
    "hand": ((-0.6, 0.6), (-0.6, 0.6), (-0.6, 0.6)),
    "clavicle": ((-0.3, 0.3), (-0.3, 0.3), (-0.4, 0.4)),
    "spine": ((-0.3, 0.6), (-0.5, 0.5), (-0.35, 0.35)),
    "neck": ((-0.4, 0.4), (-0.6, 0.6), (-0.3, 0.3)),
    "head": ((-0.5, 0.5), (-0.8, 0.8), (-0.4, 0.4)),
    "pelvis": ((-0.8, 0.8), (-np.inf, np.inf), (-0.4, 0.4)),
}
"""Bounds of each bone's rotation vector about x (forward bends are positive for the spine), y and z, radians. The
pelvis carries the whole body, which may turn as often as it likes."""
STRIDES = 0.9
"""Two steps of a walk a second, at the middle pace."""


def within_limits(pose: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The pose with every rotation vector brought into its bone's bounds."""
    out = {}
    for bone, rotation in pose.items():
        low, high = np.array(LIMITS[bone.split("_")[0]]).T
        out[bone] = np.clip(rotation, low, high)
    return out


def body_clip(motion: str, frames: int, rng: np.random.Generator, rate: float = 25.0) -> list[Performance]:
    """A take of `frames` moments of one of `MOTIONS`.

    Raises:
        ValueError: an unknown motion.
    """
    if motion not in MOTIONS:
        raise ValueError(f"there is no motion {motion!r}: choose one of {', '.join(MOTIONS)}")
    pace, size, phase = rng.uniform(0.85, 1.15), rng.uniform(0.8, 1.1), rng.uniform(0, 2 * np.pi)
    if motion == "walk":
        pace *= STRIDES
    glance = rng.uniform(0, 2 * np.pi, 3)
    out = []
    for i in range(frames):
        time = i / rate
        pose, root = _moment(motion, 2 * np.pi * pace * time + phase, size)
        head = (0.25 * np.sin(0.9 * time + glance[0]), 0.08 * np.sin(1.3 * time + glance[1]), 0.0)
        gaze = (0.2 * np.sin(1.7 * time + glance[2]), 0.0)
        blink = np.exp(-((((time + glance[0]) % 3.0 - 1.5) / 0.08) ** 4))
        units = with_lids(expression({"eyeBlink": blink, "mouthSmile": 0.25}), gaze)
        out.append(Performance(units, head, gaze, within_limits(pose), root))
    return out


def hanging(lift_left: float = 0.0, lift_right: float = 0.0) -> dict[str, np.ndarray]:
    """Arms at the sides; a lift of 1 raises that arm to the height of the shoulder."""
    return {
        "upperarm_l": np.array([0.0, 0.0, -0.55 + 1.45 * lift_left]),
        "upperarm_r": np.array([0.0, 0.0, 0.55 - 1.45 * lift_right]),
        "lowerarm_l": np.array([-0.15, 0.0, -0.12]),
        "lowerarm_r": np.array([-0.15, 0.0, 0.12]),
    }


def _moment(motion: str, angle: float, size: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    swing, root = np.sin(angle), np.zeros(3)
    pose = hanging()
    if motion == "walk":
        for side, sign in (("l", 1), ("r", -1)):
            step = sign * swing
            pose[f"thigh_{side}"] = np.array([-0.48 * size * step, 0, 0])
            # The knee bends most shortly before its thigh passes the other: a curve without a kink, so that the foot is
            # not jerked.
            lifted = 0.5 + 0.5 * np.cos(angle + (0.35 if sign > 0 else np.pi + 0.35))
            pose[f"calf_{side}"] = np.array([0.08 + 0.8 * size * lifted**2, 0, 0])
            pose[f"foot_{side}"] = np.array([0.15 * step, 0, 0])
            pose[f"upperarm_{side}"] = pose[f"upperarm_{side}"] + np.array([0.42 * size * step, 0, 0])
            pose[f"lowerarm_{side}"] = pose[f"lowerarm_{side}"] + np.array([-0.3 - 0.15 * max(0, -step), 0, 0])
        pose["spine_02"] = np.array([0.04, 0.10 * swing, 0])
        pose["pelvis"] = np.array([0, -0.08 * swing, 0])
        root[1] = -0.035 * size * swing**2
    elif motion == "wave":
        pose |= {"upperarm_r": np.array([0.0, 0.0, -1.0]), "lowerarm_r": np.array([-0.3, 0, -1.15 + 0.35 * swing])}
        pose["hand_r"] = np.array([0, 0, 0.25 * np.sin(angle - 0.6)])
        pose["spine_02"] = np.array([0, 0.05 * np.sin(0.5 * angle), 0.03 * swing])
    elif motion == "squat":
        deep = size * 0.5 * (1 - np.cos(angle))
        for side, sign in (("l", 1), ("r", -1)):
            pose[f"thigh_{side}"] = np.array([-1.25 * deep, 0.15 * sign * deep, 0.18 * sign * deep])
            pose[f"calf_{side}"] = np.array([1.75 * deep, 0, 0])
            pose[f"foot_{side}"] = np.array([-0.42 * deep, 0, 0])
            pose[f"upperarm_{side}"] = np.array([-0.9 * deep, 0.5 * sign * deep, -0.55 * sign * (1 - deep)])
        pose["spine_01"] = np.array([0.25 * deep, 0, 0])
        pose["spine_02"] = np.array([0.2 * deep, 0, 0])
    elif motion == "turn":
        pose = hanging(0.35 + 0.25 * swing, 0.35 - 0.25 * swing)
        pose["pelvis"] = np.array([0, 0.5 * angle, 0])
        pose["spine_02"] = np.array([0, 0.2 * swing, 0])
    elif motion == "reach":
        up = 0.5 * (1 - np.cos(angle)) * size
        pose = hanging(1.25 * up, 0.9 * (1 - up))
        pose["lowerarm_l"] = np.array([-0.3, 0, 0.3 * up])
        pose["spine_02"] = np.array([0.0, 0.25 * swing, -0.15 * up])
        pose["thigh_r"] = np.array([-0.25 * up, 0, -0.12 * up])
        pose["calf_r"] = np.array([0.45 * up, 0, 0])
    else:
        pose = hanging(0.12 + 0.06 * swing, 0.12 - 0.06 * swing)
        pose["spine_02"] = np.array([0.03, 0.12 * np.sin(0.5 * angle), 0.04 * swing])
        pose["pelvis"] = np.array([0, 0, 0.03 * swing])
    return pose, root


def grounded(person: Person, act: Performance) -> Performance:
    """The same moment with the lower of the two soles on the floor, y = 0."""
    feet = np.flatnonzero(person.vertices[BODY, 1] < 0.12)
    transforms = bone_transforms(person.skeleton, act.bones(), act.root)
    posed = skin(person.vertices, transforms, feet)
    lowest = float(posed[:, 1].min())
    return replace(act, root=act.root - np.array([0.0, lowest, 0.0]))
