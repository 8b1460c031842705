"""Facial expressions: weights of the 52 ARKit units, single or as smooth curves over time."""

import functools

import numpy as np

from likeness.capture.assets import load_assets

UNITS = (
    "browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft "
    "cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight "
    "eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft "
    "eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft "
    "mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight "
    "mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft "
    "mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft "
    "noseSneerRight tongueOut"
).split()
"""The 52 names in the order of every expression vector."""

BOTH_SIDES = ("Left", "Right")
PRESETS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouthSmile": 0.75, "cheekSquint": 0.5, "eyeSquint": 0.2},
    "grin": {"mouthSmile": 0.8, "jawOpen": 0.18, "cheekSquint": 0.6, "mouthUpperUp": 0.3, "eyeSquint": 0.3},
    "talk": {"jawOpen": 0.35, "mouthFunnel": 0.25},
    "oh": {"jawOpen": 0.45, "mouthFunnel": 0.6},
    "surprise": {"jawOpen": 0.5, "browInnerUp": 0.7, "browOuterUp": 0.7, "eyeWide": 0.6},
    "frown": {"browDown": 0.7, "mouthFrown": 0.5, "eyeSquint": 0.2},
    "sneer": {"noseSneer": 0.7, "mouthUpperUp": 0.4, "browDown": 0.4},
    "pucker": {"mouthPucker": 0.7},
    "wink": {"eyeBlinkLeft": 0.95, "mouthSmileLeft": 0.4},
}
"""Named expressions; a name without its side stands for both."""


def expression(weights: dict[str, float] | str) -> np.ndarray:
    """(52,) vector of a preset's name or of a map such as `{"jawOpen": 0.4, "mouthSmile": 0.5}`."""
    out = np.zeros(len(UNITS))
    for name, value in (PRESETS[weights] if isinstance(weights, str) else weights).items():
        for full in [name] if name in UNITS else [name + side for side in BOTH_SIDES]:
            out[UNITS.index(full)] = value
    return out


def draw_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,) a preset at a random strength, blended with a second one and a little of everything's asymmetry."""
    first, second = (expression(name) for name in rng.choice(list(PRESETS), 2))
    mixed = rng.uniform(0.2, 1) * first + rng.uniform(0, 0.4) * second
    mixed *= rng.uniform(0.8, 1.1, len(UNITS))
    mixed[UNITS.index("jawOpen")] += max(0.0, rng.normal(0, 0.08))
    blink = max(0.0, rng.normal(-0.05, 0.15))
    for side in BOTH_SIDES:
        mixed[UNITS.index(f"eyeBlink{side}")] += blink
    return np.clip(mixed, 0, 1)


@functools.cache
def unit_columns() -> np.ndarray:
    """(52,) indices of the units among the morph targets."""
    index = load_assets().targets.index
    return np.array([index(name) for name in UNITS])
