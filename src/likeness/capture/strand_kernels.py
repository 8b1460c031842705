"""The kernel of `scene.py` that poses hair and turns each strand into a ribbon that faces the camera."""

# Kernels are Warp's language, not typed Python; in it `int(0)` declares a variable that a loop may change.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)

TIP = wp.constant(0.65)
"""By which share a ribbon is narrower at its tip than at its root."""


@wp.func
def _posed(point: wp.vec3, head: wp.mat44, chest: wp.mat44, chin: float):
    # What hangs below the chin stays with the shoulders when the head turns.
    share = wp.clamp((point[1] - chin) / 0.14, 0.0, 1.0)
    by_chest = wp.transform_point(chest, point)
    return by_chest + share * (wp.transform_point(head, point) - by_chest)


@wp.kernel
def ribbons(
    points: wp.array2d(dtype=wp.vec3),
    shade: wp.array1d(dtype=float),
    head: wp.mat44,
    chest: wp.mat44,
    chin: float,
    eye: wp.vec3,
    width: float,
    edges: wp.array3d(dtype=wp.vec3),
    tangents: wp.array3d(dtype=wp.vec3),
    local: wp.array3d(dtype=wp.vec3),
    distances: wp.array2d(dtype=float),
):
    """Edges (S, P, 2) of strands (S, P), the strands' directions, (shade, share of the way to the tip, 0); the squared
    distance (S, P - 1) of each piece's middle from the eye."""
    s = wp.tid()
    count = points.shape[1]
    here = _posed(points[s, 0], head, chest, chin)
    tangent = wp.vec3(0.0, 0.0, 0.0)
    for k in range(count):
        following = here
        if k < count - 1:
            following = _posed(points[s, k + 1], head, chest, chin)
            tangent = wp.normalize(following - here)
            middle = 0.5 * (here + following) - eye
            distances[s, k] = wp.dot(middle, middle)
        along = float(k) / float(count - 1)
        half = 0.5 * width * (1.0 - TIP * along * along)
        side = half * wp.normalize(wp.cross(tangent, eye - here))
        for m in range(2):
            edges[s, k, m] = here + (2.0 * float(m) - 1.0) * side
            tangents[s, k, m] = tangent
            local[s, k, m] = wp.vec3(shade[s], along, 0.0)
        here = following
