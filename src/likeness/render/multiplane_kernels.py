"""Warp kernels of the multiplane compositor, see `multiplane.py`."""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

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
        result[k] = top * (left * t[0][k] + right * t[across][k])
            + bottom * (left * t[down][k] + right * t[down + across][k]);
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


Sum = wp.types.vector(length=5, dtype=float)
"""Red, green, blue, opacity, and weighted depth before the eye."""


# The loop that all pixels of all frames go through: in C++, where a CPU spends a third of the time on it.
@wp.func_native("""
    const int pixels = rows * columns, inner_columns = columns - 1, inner_rows = rows - 1;
    const float middle_x = 0.5f * inner_columns, middle_y = 0.5f * inner_rows;
    const wp::vec4* place = texels.data + view * count;
    const float* before = ahead.data + view * count;
    const float* alpha_plane = alphas.data + (size_t)layer * pixels;
    const wp::vec4* textures = colours.data + (size_t)texture * pixels;
    float through = 1.0f, far = 0.0f, covered = 0.0f;
    wp::vec4 colour;
    for (int p = 0; p < count && through >= opaque; ++p, alpha_plane += pixels) {
        float x = place[p][0] * slope_x + place[p][1], y = place[p][2] * slope_y + place[p][3];
        if (stretch != 1.0f) {
            if (wp::abs(x - middle_x) * stretch > middle_x + 0.5f) x = middle_x + (x - middle_x) * stretch;
            if (wp::abs(y - middle_y) * stretch > middle_y + 0.5f) y = middle_y + (y - middle_y) * stretch;
        }
        // Truncation after a shift is a floor without a library call, as x > -1 where it matters.
        int left = (int)(x + 1.0f) - 1, top = (int)(y + 1.0f) - 1;
        const float fx = x - (float)left, fy = y - (float)top;
        float wl = 1.0f - fx, wr = fx, wt = 1.0f - fy, wb = fy;
        int across = 1, down = columns;
        if ((unsigned)left >= (unsigned)inner_columns || (unsigned)top >= (unsigned)inner_rows) {
            if (!(x > -1.0f && y > -1.0f && x < (float)columns && y < (float)rows)) continue;
            // A texel outside is zero: its weight is, and its index moves inside.
            if (left < 0) { left = 0; across = 0; wl = 0.0f; }
            else if (left >= inner_columns) { across = 0; wr = 0.0f; }
            if (top < 0) { top = 0; down = 0; wt = 0.0f; }
            else if (top >= inner_rows) { down = 0; wb = 0.0f; }
        }
        const int texel = top * columns + left;
        const float* a = alpha_plane + texel;
        const float alpha = wt * (wl * a[0] + wr * a[across]) + wb * (wl * a[down] + wr * a[down + across]);
        const float weight = alpha * through;
        if (weight == 0.0f) continue;
        const wp::vec4* c = textures + texture_of_plane.data[p] * pixels + texel;
        wt *= weight;
        wb *= weight;
        for (int k = 0; k < 4; ++k)
            colour[k] += wt * (wl * c[0][k] + wr * c[across][k]) + wb * (wl * c[down][k] + wr * c[down + across][k]);
        far += weight * before[p];
        covered += weight;
        through *= 1.0f - alpha + 1.0e-10f;
    }
    wp::vec_t<5, wp::float32> sum;
    for (int k = 0; k < 3; ++k) sum[k] = colour[k];
    sum[3] = covered;
    sum[4] = far;
    return sum;
""")
def along_ray(
    colours: wp.array1d(dtype=wp.vec4),
    alphas: wp.array1d(dtype=float),
    texels: wp.array1d(dtype=wp.vec4),
    ahead: wp.array1d(dtype=float),
    texture_of_plane: wp.array1d(dtype=int),
    view: int,
    layer: int,  # first plane of the multiplane image
    texture: int,  # first of its textures
    count: int,
    rows: int,
    columns: int,
    slope_x: float,
    slope_y: float,
    stretch: float,
    opaque: float,
) -> Sum: ...


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
    count = texture_of_plane.shape[0]
    seen = along_ray(
        colours, alphas, texels, ahead, texture_of_plane, view, n * count, n * textures, count, rows, columns,
        ray[0] * nearness, ray[1] * nearness, stretch, OPAQUE,
    )  # fmt: skip
    image[view, 0, row, column] = seen[0]
    image[view, 1, row, column] = seen[1]
    image[view, 2, row, column] = seen[2]
    depth[view, row, column] = seen[4] * nearness
    opacity[view, row, column] = seen[3]


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
