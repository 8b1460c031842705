"""Kernel that bounds rays by a cloud of equal balls, see `balls.py`."""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018, RUF046

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)


@wp.kernel
def enclose(
    offsets: wp.array(dtype=wp.vec3),
    radius: float,
    lower: wp.array(dtype=wp.vec3),
    upper: wp.array(dtype=wp.vec3),
):
    """Boxes of the balls, a little larger so that rounding loses none."""
    ball = wp.tid()
    half = wp.vec3(radius * 1.0001 + 1.0e-6 * wp.length(offsets[ball]))
    lower[ball] = offsets[ball] - half
    upper[ball] = offsets[ball] + half


@wp.kernel
def bound(
    tree: wp.uint64,
    offsets: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    squared_radius: float,
    reach: float,
    near: wp.array(dtype=float),
    far: wp.array(dtype=float),
):
    """One thread a ray; `offsets` are the balls' centres as seen from the rays' common origin, none beyond `reach`."""
    ray = wp.tid()
    direction = directions[ray]
    low = float(1.0e30)
    high = float(-1.0e30)
    # The search starts behind all balls: those behind the camera count as in front, as published.
    query = wp.bvh_query_ray(tree, -reach * direction, direction)
    ball = int(0)
    while wp.bvh_query_next(query, ball):
        offset = offsets[ball]
        along = wp.dot(offset, direction)
        # |p - (p.d) d|^2 does not cancel as |p|^2 - (p.d)^2 does.
        aside = offset - along * direction
        squared = wp.dot(aside, aside)
        if squared < squared_radius:
            half = wp.sqrt(squared_radius - squared)
            low = wp.min(low, wp.abs(along) - half)
            high = wp.max(high, wp.abs(along) + half)
    near[ray] = low
    far[ray] = high
