"""Light: an ambient sky of spherical harmonics, a key light that throws shadows, a fill, and what stands behind."""

from dataclasses import dataclass

import numpy as np

from likeness.capture.skin import srgb_to_linear


@dataclass(frozen=True)
class Light:
    """Linear radiance; directions point towards the light, in the world (y up)."""

    ambient: np.ndarray
    """(9, 3) irradiance / pi by the real spherical harmonics of a normal: 1, y, z, x, xy, yz, 3zz-1, xz, xx-yy."""
    key_direction: np.ndarray
    """(3,) unit."""
    key: np.ndarray
    """(3,)."""
    fill_direction: np.ndarray
    """(3,) unit."""
    fill: np.ndarray
    """(3,)."""
    background: np.ndarray
    """(6, 8, 3) linear: a blurred wall behind the person."""
    floor: np.ndarray
    """(3,) linear albedo of the floor."""
    exposure: float = 1.0
    noise: float = 0.006
    """Spread of the sensor's noise, in sRGB units of 0 to 1."""

    def irradiance(self, normals: np.ndarray) -> np.ndarray:
        """Ambient light on normals (N, 3): (N, 3), never negative."""
        x, y, z = normals.T
        basis = np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], 1)
        return np.maximum(basis @ self.ambient.astype(np.float32), 0)


def studio(background: float = 0.35, noise: float = 0.006) -> Light:
    """Soft, neutral light from the front left, for data sets whose pictures must look alike.

    `background` is the wall's radiance.
    """
    ambient = np.zeros((9, 3))
    ambient[0], ambient[1], ambient[2] = 0.34, 0.12, 0.06
    return Light(
        ambient,
        _direction(-0.6, 0.55),
        np.array([0.85, 0.83, 0.80]),
        _direction(0.9, 0.2),
        np.array([0.22, 0.23, 0.25]),
        np.full((6, 8, 3), background),
        np.full(3, 0.35),
        noise=noise,
    )


def draw_light(rng: np.random.Generator) -> Light:
    """A random light that still shows the face."""
    tint = 1 + rng.normal(0, 0.05, 3)
    ambient = np.zeros((9, 3))
    ambient[0] = rng.uniform(0.22, 0.42) * tint
    ambient[1] = rng.uniform(0.05, 0.16) * (1 + rng.normal(0, 0.05, 3))
    ambient[2:4] = rng.normal(0, 0.06, (2, 1)) * tint
    ambient[4:] = rng.normal(0, 0.02, (5, 1)) * tint
    warm = rng.normal(0, 0.06)
    key = rng.uniform(0.5, 1.1) * np.array([1 + warm, 1.0, 1 - warm])
    yaw = rng.uniform(-1.2, 1.2)
    wall = rng.normal(0, 1, (6, 8, 1)) * 0.25 + rng.normal(0, 0.10, (6, 8, 3)) + np.log(rng.uniform(0.08, 0.6))
    colour = srgb_to_linear(0.45 + 0.22 * (rng.random(3) - 0.5))
    return Light(
        ambient,
        _direction(yaw, rng.uniform(0.25, 1.0)),
        key,
        _direction(-yaw - 0.5, rng.uniform(0, 0.4)),
        rng.uniform(0.08, 0.35) * np.array([0.95, 1.0, 1.08]),
        np.exp(wall) * (0.6 + 0.8 * colour / colour.mean()) / 1.4,
        srgb_to_linear(rng.uniform(0.3, 0.6) * (1 + rng.normal(0, 0.06, 3))),
        float(rng.uniform(0.9, 1.15)),
    )


def _direction(yaw: float, height: float) -> np.ndarray:
    """Unit vector `yaw` radians to the subject's left of the front and `height` radians up."""
    return np.array([np.sin(yaw) * np.cos(height), np.sin(height), np.cos(yaw) * np.cos(height)])
