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
def stretched(x: float, middle: float, stretch: float):
    """A texel coordinate moved away from the texture's middle by `stretch` where it lies outside the plane."""
    if wp.abs(x - middle) * 2.0 * stretch > 2.0 * middle + 1.0:
        return middle + (x - middle) * stretch
    return x


@wp.func
def neighbours(x: float, count: int):
    """The texel left of x > -1, how far the next one lies, and their weights; one outside is zero: its weight is."""
    # Truncation after a shift is a floor without a library call.
    left = int(x + 1.0) - 1
    f = x - float(left)
    if left < 0:
        return 0, 0, 0.0, f
    if left + 1 >= count:
        return left, 0, 1.0 - f, 0.0
    return left, 1, 1.0 - f, f


# An array's own index handles negative numbers and any stride: for four neighbours that is most of the work on a CPU.
@wp.func_native("""
    const float* t = texture.data + first;
    return top * (left * t[0] + right * t[across]) + bottom * (left * t[down] + right * t[down + across]);
""")
def between(
    texture: wp.array1d(dtype=float),
    first: int,
    across: int,
    down: int,
    left: float,
    right: float,
    top: float,
    bottom: float,
) -> float: ...


@wp.func_native("""
    const wp::vec4* t = texture.data + first;
    wp::vec4 result;
    for (int k = 0; k < 4; ++k)
        result[k] = top * (left * t[0][k] + right * t[across][k]) + bottom * (left * t[down][k] + right * t[down + across][k]);
    return result;
""")
def colour_between(
    texture: wp.array1d(dtype=wp.vec4),
    first: int,
    across: int,
    down: int,
    left: float,
    right: float,
    top: float,
    bottom: float,
) -> wp.vec4: ...


@wp.kernel
def composite(
    colours: wp.array1d(dtype=wp.vec4),  # (N * K * R * S,), the fourth number unused
    alphas: wp.array1d(dtype=float),  # (N * P * R * S,)
    rows: int,  # R
    columns: int,  # S
    texels: wp.array1d(dtype=wp.vec4),  # (V * P,) of a ray's slope: column = c0 * slope_x + c1, row = c2 * slope_y + c3
    ahead: wp.array1d(dtype=float),  # (V * P,) depth of the plane before the eye
    texture_of_plane: wp.array1d(dtype=int),  # (P,)
    textures: int,  # K
    source: wp.array1d(dtype=int),  # (V,) which of the N
    rays: wp.array1d(dtype=wp.mat33),  # pixel to world direction with unit depth
    stretch: float,
    image: wp.array4d(dtype=float),
    depth: wp.array3d(dtype=float),
    opacity: wp.array3d(dtype=float),
):
    view, row, column = wp.tid()
    n = source[view]
    ray = rays[view] * wp.vec3(float(column) + 0.5, float(row) + 0.5, 1.0)
    nearness = 1.0 / ray[2]
    slope_x = ray[0] * nearness
    slope_y = ray[1] * nearness
    count = texture_of_plane.shape[0]
    pixels = rows * columns
    right_end = float(columns)
    bottom_end = float(rows)
    first = view * count
    layer = n * count * pixels
    through = float(1.0)
    colour = wp.vec4()
    far = float(0.0)
    covered = float(0.0)
    for p in range(count):
        if through < OPAQUE:
            break
        place = texels[first + p]
        x = place[0] * slope_x + place[1]
        y = place[2] * slope_y + place[3]
        if stretch != 1.0:
            x = stretched(x, 0.5 * float(columns - 1), stretch)
            y = stretched(y, 0.5 * float(rows - 1), stretch)
        if x > -1.0 and y > -1.0 and x < right_end and y < bottom_end:
            left, across, wl, wr = neighbours(x, columns)
            top, down, wt, wb = neighbours(y, rows)
            texel = top * columns + left
            down = down * columns
            alpha = between(alphas, layer + p * pixels + texel, across, down, wl, wr, wt, wb)
            weight = alpha * through
            if weight != 0.0:
                t = (n * textures + texture_of_plane[p]) * pixels + texel
                colour += colour_between(colours, t, across, down, wl, wr, weight * wt, weight * wb)
                far += weight * ahead[first + p]
                covered += weight
                through = through * (1.0 - alpha + 1.0e-10)
    image[view, 0, row, column] = colour[0]
    image[view, 1, row, column] = colour[1]
    image[view, 2, row, column] = colour[2]
    depth[view, row, column] = far * nearness
    opacity[view, row, column] = covered


@wp.kernel
def composite_backward(
    colours: wp.array1d(dtype=wp.vec4),
    alphas: wp.array1d(dtype=float),
    rows: int,
    columns: int,
    texels: wp.array1d(dtype=wp.vec4),
    ahead: wp.array1d(dtype=float),
    texture_of_plane: wp.array1d(dtype=int),
    textures: int,
    source: wp.array1d(dtype=int),
    rays: wp.array1d(dtype=wp.mat33),
    stretch: float,
    grad_image: wp.array4d(dtype=float),
    grad_depth: wp.array3d(dtype=float),
    grad_opacity: wp.array3d(dtype=float),
    transmittance: wp.array4d(dtype=float),  # (V, P, H, W) scratch
    grad_colours: wp.array1d(dtype=wp.vec4),
    grad_alphas: wp.array1d(dtype=float),
):
    view, row, column = wp.tid()
    n = source[view]
    ray = rays[view] * wp.vec3(float(column) + 0.5, float(row) + 0.5, 1.0)
    nearness = 1.0 / ray[2]
    slope_x = ray[0] * nearness
    slope_y = ray[1] * nearness
    count = texture_of_plane.shape[0]
    pixels = rows * columns
    first = view * count
    grad = wp.vec4(
        grad_image[view, 0, row, column], grad_image[view, 1, row, column], grad_image[view, 2, row, column], 0.0
    )
    along = grad_depth[view, row, column] * nearness
    constant = grad_opacity[view, row, column]
    through = float(1.0)
    # First near to far for the transmittance, then far to near with `behind`, the gradient-weighted value that the
    # planes behind would show unobstructed. Dividing a running total by 1 - alpha instead would fail at alpha = 1.
    behind = float(0.0)
    for step in range(2 * count):
        p = step
        if step >= count:
            p = 2 * count - 1 - step
        place = texels[first + p]
        x = place[0] * slope_x + place[1]
        y = place[2] * slope_y + place[3]
        if stretch != 1.0:
            x = stretched(x, 0.5 * float(columns - 1), stretch)
            y = stretched(y, 0.5 * float(rows - 1), stretch)
        if step < count:
            transmittance[view, p, row, column] = through
        if x > -1.0 and y > -1.0 and x < float(columns) and y < float(rows):
            left, across, wl, wr = neighbours(x, columns)
            top, down, wt, wb = neighbours(y, rows)
            texel = top * columns + left
            down = down * columns
            i = (n * count + p) * pixels + texel
            alpha = between(alphas, i, across, down, wl, wr, wt, wb)
            if step < count:
                through = through * (1.0 - alpha + 1.0e-10)
            else:
                reached = transmittance[view, p, row, column]
                t = (n * textures + texture_of_plane[p]) * pixels + texel
                seen = colour_between(colours, t, across, down, wl, wr, wt, wb)
                value = wp.dot(grad, seen) + along * ahead[first + p] + constant
                slope = reached * (value - behind)
                wp.atomic_add(grad_alphas, i, (wt * wl) * slope)
                wp.atomic_add(grad_alphas, i + across, (wt * wr) * slope)
                wp.atomic_add(grad_alphas, i + down, (wb * wl) * slope)
                wp.atomic_add(grad_alphas, i + down + across, (wb * wr) * slope)
                weight = reached * alpha
                if weight != 0.0:
                    wp.atomic_add(grad_colours, t, (wt * wl * weight) * grad)
                    wp.atomic_add(grad_colours, t + across, (wt * wr * weight) * grad)
                    wp.atomic_add(grad_colours, t + down, (wb * wl * weight) * grad)
                    wp.atomic_add(grad_colours, t + down + across, (wb * wr * weight) * grad)
                behind = alpha * value + (1.0 - alpha + 1.0e-10) * behind
