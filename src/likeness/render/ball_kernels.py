"""Kernel that bounds rays by a cloud of equal balls, see `balls.py`."""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018

import warp as wp

from likeness.render.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)


@wp.kernel
def bound(
    offsets: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    squared_radius: float,
    near: wp.array(dtype=float),
    far: wp.array(dtype=float),
):
    """One thread a ray; `offsets` are the balls' centres as seen from the rays' common origin."""
    ray = wp.tid()
    direction = directions[ray]
    low = float(1.0e30)
    high = float(-1.0e30)
    for ball in range(offsets.shape[0]):
        offset = offsets[ball]
        along = wp.dot(offset, direction)
        # |p - (p.d) d|^2 does not cancel as |p|^2 - (p.d)^2 does.
        aside = offset - along * direction
        squared = wp.dot(aside, aside)
        if squared < squared_radius:
            half = wp.sqrt(squared_radius - squared)
            # Balls behind the camera count as in front, as published.
            reach = wp.abs(along)
            low = wp.min(low, reach - half)
            high = wp.max(high, reach + half)
    near[ray] = low
    far[ray] = high
