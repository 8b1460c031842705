"""Who somebody is: gender, age, ancestry, build and local face shape, as weights of the morph targets."""

import functools
from dataclasses import dataclass

import numpy as np

from likeness.capture.assets import AGES, ANCESTRIES, GENDERS, MUSCLES, WEIGHTS, load_assets

OPPOSITES = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
)
# Larger spreads make caricatures; these four already distort at a third of what the others bear.
LOCAL_SIGMA, LOCAL_LIMIT = 0.13, 0.8
TENDER = ("head-age", "head-angle", "eye-bag", "neck-double")
ASYMMETRY_SIGMA, ASYMMETRY_SHARE = 0.08, 0.25


@dataclass(frozen=True)
class Identity:
    """What makes a person recognisable, apart from skin, hair and clothes."""

    gender: float
    """0 female to 1 male."""
    age: float
    """0 young adult to 1 old."""
    ancestry: tuple[float, float, float]
    """African, Asian, Caucasian shares, adding up to 1."""
    muscle: float
    """0 to 1."""
    weight: float
    """0 to 1."""
    height: float
    """Factor on the whole body, about 1."""
    local: np.ndarray
    """(C,) -0.8 to 0.8, one value a control of `local_controls()`."""

    def target_weights(self) -> np.ndarray:
        """(T,) float64 weight of every morph target, expressions at 0."""
        out = np.zeros(len(load_assets().targets))
        columns = _macro_columns()
        gender = (1 - self.gender, self.gender)
        age = (1 - self.age, self.age)
        build = np.outer(_three_steps(self.muscle), _three_steps(self.weight)).ravel()
        face = np.einsum("a,g,t->agt", self.ancestry, gender, age).ravel()
        body = np.einsum("g,t,b->gtb", gender, age, build).ravel()
        out[columns] = np.concatenate([face, body])
        out += np.maximum(self.local, 0) @ _local_matrix()[0] + np.maximum(-self.local, 0) @ _local_matrix()[1]
        return out


def draw_identity(rng: np.random.Generator) -> Identity:
    """An adult drawn from broad, plausible ranges."""
    names = local_controls()
    local = rng.normal(0, LOCAL_SIGMA, len(names))
    local *= np.where([any(word in name for word in TENDER) for name in names], 0.3, 1.0)
    skewed = np.array([name.startswith("asym") for name in names])
    sparse = rng.random(len(names)) < ASYMMETRY_SHARE
    local = np.where(skewed, local * sparse * ASYMMETRY_SIGMA / LOCAL_SIGMA, local)
    main = rng.integers(3)
    share = rng.dirichlet(np.where(np.arange(3) == main, 6.0, 0.4))
    return Identity(
        gender=float(np.clip(rng.choice([0.06, 0.94]) + rng.normal(0, 0.08), 0, 1)),
        age=float(rng.beta(1.1, 2.0)),
        ancestry=(float(share[0]), float(share[1]), float(share[2])),
        muscle=float(np.clip(rng.normal(0.5, 0.15), 0, 1)),
        weight=float(np.clip(rng.normal(0.48, 0.16), 0, 1)),
        height=float(np.clip(rng.normal(1, 0.035), 0.9, 1.1)),
        local=np.clip(local, -LOCAL_LIMIT, LOCAL_LIMIT),
    )


def average_identity() -> Identity:
    """The middle of every range: androgynous, of mixed ancestry, aged between young and old."""
    third = 1 / 3
    return Identity(0.5, 0.3, (third, third, third), 0.5, 0.5, 1.0, np.zeros(len(local_controls())))


@functools.cache
def local_controls() -> tuple[str, ...]:
    """Names of the local shape controls; a left and a right target make one control, drawn once for both sides."""
    return tuple(_pairs())


@functools.cache
def _pairs() -> dict[str, tuple[list[int], list[int]]]:
    """Targets that a control applies at positive and at negative values."""
    assets = load_assets()
    face = [
        i for i, name in enumerate(assets.targets) if "-" in name and not name.startswith(("universal-", *ANCESTRIES))
    ]
    controls: dict[str, tuple[list[int], list[int]]] = {}
    for i in face:
        name = assets.targets[i]
        side = name[2:] if name.startswith(("l-", "r-")) else name
        stem, _, end = side.rpartition("-")
        if name.startswith("asym"):
            pair = ("l", "r")
        else:
            pair = next((pair for pair in OPPOSITES if end in pair), ("", end))
        key = f"{stem}-{pair[0]}-{pair[1]}" if pair[0] else side
        # A target without an opposite ("head-oval") is one half of a control; its other half is nothing.
        controls.setdefault(key, ([], []))[0 if end == pair[1] else 1].append(i)
    return controls


@functools.cache
def _local_matrix() -> tuple[np.ndarray, np.ndarray]:
    pairs, count = _pairs(), len(load_assets().targets)
    up, down = np.zeros((len(pairs), count)), np.zeros((len(pairs), count))
    for row, (positive, negative) in enumerate(pairs.values()):
        up[row, positive] = 1
        down[row, negative] = 1
    return up, down


@functools.cache
def _macro_columns() -> np.ndarray:
    index = load_assets().targets.index
    face = [index(f"{a}-{g}-{t}") for a in ANCESTRIES for g in GENDERS for t in AGES]
    body = [index(f"universal-{g}-{t}-{m}-{w}") for g in GENDERS for t in AGES for m in MUSCLES for w in WEIGHTS]
    return np.array(face + body)


def _three_steps(value: float) -> np.ndarray:
    """Piecewise-linear shares of minimum, average and maximum."""
    return np.array([max(0.0, 1 - 2 * value), 1 - abs(2 * value - 1), max(0.0, 2 * value - 1)])
