"""Warp kernels of the multiplane compositor, see `multiplane.py`."""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018

import warp as wp

from likeness.render.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)

OPAQUE = wp.constant(2.0**-30)
"""Transmittance below which the planes behind are skipped: together they weigh less than a 64th of the last bit of an
opacity of one."""


@wp.func
def texel(x: float, extent: float, count: int, inset: float):
    """Texture index of the plane coordinate x; `inset` is 0 where corner texels' centres are the plane's corners."""
    u = x * 2.0 / extent
    if inset == 0.0:
        return (u + 1.0) * 0.5 * float(count - 1)
    if wp.abs(u) <= 1.0:
        u = u * inset
    return ((u + 1.0) * float(count) - 1.0) * 0.5


@wp.kernel
def composite(
    colours: wp.array1d(dtype=wp.vec3),  # (N * K * R * S,)
    alphas: wp.array1d(dtype=float),  # (N * P * R * S,)
    rows: int,  # R
    columns: int,  # S
    planes: wp.array2d(dtype=float),  # (P, 3) depth, height, width
    texture_of_plane: wp.array1d(dtype=int),  # (P,)
    textures: int,  # K
    source: wp.array1d(dtype=int),  # (V,) which of the N
    eyes: wp.array1d(dtype=wp.vec3),
    rays: wp.array1d(dtype=wp.mat33),  # pixel to world direction with unit depth
    inset: float,
    image: wp.array4d(dtype=float),
    depth: wp.array3d(dtype=float),
    opacity: wp.array3d(dtype=float),
):
    view, row, column = wp.tid()
    n = source[view]
    eye = eyes[view]
    ray = rays[view] * wp.vec3(float(column) + 0.5, float(row) + 0.5, 1.0)
    slope_x = ray[0] / ray[2]
    slope_y = ray[1] / ray[2]
    count = planes.shape[0]
    through = float(1.0)
    colour = wp.vec3()
    far = float(0.0)
    covered = float(0.0)
    for p in range(count):
        if through < OPAQUE:
            break
        ahead = planes[p, 0] - eye[2]
        x = texel(eye[0] + ahead * slope_x, planes[p, 2], columns, inset)
        y = texel(eye[1] + ahead * slope_y, planes[p, 1], rows, inset)
        if x > -1.0 and y > -1.0 and x < float(columns) and y < float(rows):
            # x and y exceed -1: truncation after a shift is a floor without a library call.
            left = int(x + 1.0) - 1
            top = int(y + 1.0) - 1
            fx = x - float(left)
            fy = y - float(top)
            # Texels outside are zero: their weight is zeroed and their index moved inside.
            w00 = (1.0 - fx) * (1.0 - fy)
            w01 = fx * (1.0 - fy)
            w10 = (1.0 - fx) * fy
            w11 = fx * fy
            right = left + 1
            bottom = top + 1
            if left < 0:
                w00 = 0.0
                w10 = 0.0
                left = 0
            if top < 0:
                w00 = 0.0
                w01 = 0.0
                top = 0
            if right >= columns:
                w01 = 0.0
                w11 = 0.0
                right = columns - 1
            if bottom >= rows:
                w10 = 0.0
                w11 = 0.0
                bottom = rows - 1
            i00 = top * columns + left
            i01 = top * columns + right
            i10 = bottom * columns + left
            i11 = bottom * columns + right
            layer = (n * count + p) * rows * columns
            alpha = (
                w00 * alphas[layer + i00]
                + w01 * alphas[layer + i01]
                + w10 * alphas[layer + i10]
                + w11 * alphas[layer + i11]
            )
            weight = alpha * through
            if weight != 0.0:
                t = (n * textures + texture_of_plane[p]) * rows * columns
                colour += weight * (
                    w00 * colours[t + i00] + w01 * colours[t + i01] + w10 * colours[t + i10] + w11 * colours[t + i11]
                )
                far += weight * (ahead / ray[2])
                covered += weight
                through = through * (1.0 - alpha + 1.0e-10)
    image[view, 0, row, column] = colour[0]
    image[view, 1, row, column] = colour[1]
    image[view, 2, row, column] = colour[2]
    depth[view, row, column] = far
    opacity[view, row, column] = covered


@wp.kernel
def composite_backward(
    colours: wp.array1d(dtype=wp.vec3),
    alphas: wp.array1d(dtype=float),
    rows: int,
    columns: int,
    planes: wp.array2d(dtype=float),
    texture_of_plane: wp.array1d(dtype=int),
    textures: int,
    source: wp.array1d(dtype=int),
    eyes: wp.array1d(dtype=wp.vec3),
    rays: wp.array1d(dtype=wp.mat33),
    inset: float,
    grad_image: wp.array4d(dtype=float),
    grad_depth: wp.array3d(dtype=float),
    grad_opacity: wp.array3d(dtype=float),
    transmittance: wp.array4d(dtype=float),  # (V, P, H, W) scratch
    grad_colours: wp.array1d(dtype=wp.vec3),
    grad_alphas: wp.array1d(dtype=float),
):
    view, row, column = wp.tid()
    n = source[view]
    eye = eyes[view]
    ray = rays[view] * wp.vec3(float(column) + 0.5, float(row) + 0.5, 1.0)
    slope_x = ray[0] / ray[2]
    slope_y = ray[1] / ray[2]
    count = planes.shape[0]
    grad = wp.vec3(grad_image[view, 0, row, column], grad_image[view, 1, row, column], grad_image[view, 2, row, column])
    along = grad_depth[view, row, column]
    constant = grad_opacity[view, row, column]
    through = float(1.0)
    # First near to far for the transmittance, then far to near with `behind`, the gradient-weighted value that the
    # planes behind would show unobstructed. Dividing a running total by 1 - alpha instead would fail at alpha = 1.
    behind = float(0.0)
    for step in range(2 * count):
        p = step
        if step >= count:
            p = 2 * count - 1 - step
        ahead = planes[p, 0] - eye[2]
        x = texel(eye[0] + ahead * slope_x, planes[p, 2], columns, inset)
        y = texel(eye[1] + ahead * slope_y, planes[p, 1], rows, inset)
        inside = x > -1.0 and y > -1.0 and x < float(columns) and y < float(rows)
        if step < count:
            transmittance[view, p, row, column] = through
        if inside:
            # x and y exceed -1: truncation after a shift is a floor without a library call.
            left = int(x + 1.0) - 1
            top = int(y + 1.0) - 1
            fx = x - float(left)
            fy = y - float(top)
            w00 = (1.0 - fx) * (1.0 - fy)
            w01 = fx * (1.0 - fy)
            w10 = (1.0 - fx) * fy
            w11 = fx * fy
            right = left + 1
            bottom = top + 1
            if left < 0:
                w00 = 0.0
                w10 = 0.0
                left = 0
            if top < 0:
                w00 = 0.0
                w01 = 0.0
                top = 0
            if right >= columns:
                w01 = 0.0
                w11 = 0.0
                right = columns - 1
            if bottom >= rows:
                w10 = 0.0
                w11 = 0.0
                bottom = rows - 1
            i00 = top * columns + left
            i01 = top * columns + right
            i10 = bottom * columns + left
            i11 = bottom * columns + right
            layer = (n * count + p) * rows * columns
            alpha = (
                w00 * alphas[layer + i00]
                + w01 * alphas[layer + i01]
                + w10 * alphas[layer + i10]
                + w11 * alphas[layer + i11]
            )
            if step < count:
                through = through * (1.0 - alpha + 1.0e-10)
            else:
                t = (n * textures + texture_of_plane[p]) * rows * columns
                reached = transmittance[view, p, row, column]
                seen = w00 * colours[t + i00] + w01 * colours[t + i01] + w10 * colours[t + i10] + w11 * colours[t + i11]
                value = wp.dot(grad, seen) + along * (ahead / ray[2]) + constant
                slope = reached * (value - behind)
                wp.atomic_add(grad_alphas, layer + i00, w00 * slope)
                wp.atomic_add(grad_alphas, layer + i01, w01 * slope)
                wp.atomic_add(grad_alphas, layer + i10, w10 * slope)
                wp.atomic_add(grad_alphas, layer + i11, w11 * slope)
                weight = reached * alpha
                if weight != 0.0:
                    wp.atomic_add(grad_colours, t + i00, w00 * weight * grad)
                    wp.atomic_add(grad_colours, t + i01, w01 * weight * grad)
                    wp.atomic_add(grad_colours, t + i10, w10 * weight * grad)
                    wp.atomic_add(grad_colours, t + i11, w11 * weight * grad)
                behind = alpha * value + (1.0 - alpha + 1.0e-10) * behind
