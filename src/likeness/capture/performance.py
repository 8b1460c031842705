"""What somebody does: expression, gaze and pose at a moment."""

from dataclasses import dataclass, field

import numpy as np

from likeness.capture.expression import UNITS, expression


@dataclass(frozen=True)
class Performance:
    """One moment of a performance."""

    expression: np.ndarray = field(default_factory=lambda: np.zeros(len(UNITS)))
    """(52,) ARKit units."""
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Radians: yaw to the subject's left, pitch downwards, roll towards the subject's left shoulder."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Radians: yaw to the subject's left, pitch upwards, relative to the head."""
    pose: dict[str, np.ndarray] = field(default_factory=dict)
    """Rotation vectors by bone, see `body.bone_transforms`; neck and head turn on top of these."""
    root: np.ndarray = field(default_factory=lambda: np.zeros(3))
    """(3,) metres that the body stands away from the origin."""

    def bones(self) -> dict[str, np.ndarray]:
        """The pose with the head's turn shared between neck and head."""
        yaw, pitch, roll = self.head
        turn = np.array([pitch, yaw, -roll])
        out = dict(self.pose)
        for bone, share in (("neck_01", 0.4), ("head", 0.6)):
            out[bone] = out.get(bone, np.zeros(3)) + share * turn
        return out


def with_lids(units: np.ndarray, gaze: tuple[float, float]) -> np.ndarray:
    """The expression with the lids following the gaze, as they do."""
    out = units.copy()
    up = np.clip(gaze[1] / 0.5, -1, 1)
    for side in ("Left", "Right"):
        out[UNITS.index(f"eyeLookUp{side}")] = max(up, 0)
        out[UNITS.index(f"eyeLookDown{side}")] = max(-up, 0)
    return out


def talking_clip(frames: int, rng: np.random.Generator, rate: float = 25.0) -> list[Performance]:
    """A smooth take of a head that talks, blinks, looks about and turns; `rate` is frames a second."""
    time = np.arange(frames) / rate
    yaw = _wander(time, rng, 0.30, 2.6)
    pitch = _wander(time, rng, 0.10, 2.2)
    roll = _wander(time, rng, 0.06, 3.0)
    look = _wander(time, rng, 0.16, 1.4), _wander(time, rng, 0.08, 1.6)
    opening = np.clip(0.20 + 0.9 * _wander(time, rng, 0.22, 0.30), 0, 0.75)
    opening *= np.clip(0.6 + _wander(time, rng, 0.5, 1.5), 0, 1)
    funnel = np.clip(_wander(time, rng, 0.35, 0.45), 0, 0.7)
    smile = np.clip(rng.uniform(-0.2, 0.5) + _wander(time, rng, 0.35, 2.5), 0, 0.9)
    brow = np.clip(_wander(time, rng, 0.4, 1.8), -0.7, 0.8)
    blink = _blinks(time, rng)
    out = []
    for i in range(frames):
        units = expression(
            {
                "jawOpen": opening[i],
                "mouthFunnel": funnel[i] * (1 - smile[i]),
                "mouthSmile": smile[i],
                "cheekSquint": 0.5 * smile[i],
                "browInnerUp": max(brow[i], 0),
                "browOuterUp": 0.7 * max(brow[i], 0),
                "browDown": max(-brow[i], 0),
                "eyeBlink": blink[i],
            }
        )
        gaze = (float(look[0][i] - 0.4 * yaw[i]), float(look[1][i]))
        head = (float(yaw[i]), float(pitch[i]), float(roll[i]))
        out.append(Performance(with_lids(units, gaze), head, gaze, relaxed_arms()))
    return out


def relaxed_arms() -> dict[str, np.ndarray]:
    """Arms hanging at the sides."""
    return {
        "upperarm_l": np.array([0.0, 0.0, -0.55]),
        "upperarm_r": np.array([0.0, 0.0, 0.55]),
        "lowerarm_l": np.array([-0.15, 0.0, -0.1]),
        "lowerarm_r": np.array([-0.15, 0.0, 0.1]),
    }


def _wander(time: np.ndarray, rng: np.random.Generator, size: float, period: float) -> np.ndarray:
    """A smooth random curve of about this size and period in seconds."""
    out = np.zeros_like(time)
    for k in range(1, 4):
        out += rng.normal(0, 1 / k) * np.sin(
            2 * np.pi * time / (period * rng.uniform(0.8, 1.3) / k**0.8) + rng.uniform(0, 6.3)
        )
    return 0.8 * size * out


def _blinks(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros_like(time)
    moment = rng.uniform(0, 2)
    while len(time) and moment < time[-1] + 0.3:
        out = np.maximum(out, np.exp(-(((time - moment) / 0.07) ** 4)))
        moment += rng.uniform(1.5, 4.5)
    return out
