"""Kernels of what happens in a pixel once its triangle is known: interpolation, texture look-up, blended outlines.

See `interpolate.py`, `texture.py`, `silhouette.py`. As in `raster_kernels.py`, a thread walks along a picture's row
with a step of `lanes`. Loops over channels are `while`, which runs faster than Warp's `for`.
"""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018, RUF046

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)

# How many triangles the way between two neighbouring centres may cross before it is given up.
WALK = wp.constant(32)


@wp.kernel
def interpolate(
    triangle: wp.array3d(dtype=wp.int32),
    barycentric: wp.array3d(dtype=wp.vec3),
    attributes: wp.array3d(dtype=wp.float32),
    triangles: wp.array1d(dtype=wp.vec3i),
    lanes: int,
    out: wp.array4d(dtype=wp.float32),
):
    b, i, lane = wp.tid()
    channels = attributes.shape[2]
    source = wp.min(b, attributes.shape[0] - 1)
    for j in range(lane, triangle.shape[2], lanes):
        t = triangle[b, i, j]
        if t < 0:
            c = int(0)
            while c < channels:
                out[b, i, j, c] = 0.0
                c += 1
        else:
            corners = triangles[t]
            w = barycentric[b, i, j]
            c = int(0)
            while c < channels:
                out[b, i, j, c] = (
                    w[0] * attributes[source, corners[0], c]
                    + w[1] * attributes[source, corners[1], c]
                    + w[2] * attributes[source, corners[2], c]
                )
                c += 1


@wp.kernel
def interpolate_backward(
    triangle: wp.array3d(dtype=wp.int32),
    barycentric: wp.array3d(dtype=wp.vec3),
    attributes: wp.array3d(dtype=wp.float32),
    triangles: wp.array1d(dtype=wp.vec3i),
    lanes: int,
    grad_out: wp.array4d(dtype=wp.float32),
    wants_attributes: bool,
    grad_attributes: wp.array3d(dtype=wp.float32),
    grad_barycentric: wp.array3d(dtype=wp.vec3),
):
    b, i, lane = wp.tid()
    channels = attributes.shape[2]
    source = wp.min(b, attributes.shape[0] - 1)
    for j in range(lane, triangle.shape[2], lanes):
        t = triangle[b, i, j]
        g0 = float(0.0)
        g1 = float(0.0)
        g2 = float(0.0)
        if t >= 0:
            corners = triangles[t]
            w = barycentric[b, i, j]
            c = int(0)
            while c < channels:
                g = grad_out[b, i, j, c]
                g0 += g * attributes[source, corners[0], c]
                g1 += g * attributes[source, corners[1], c]
                g2 += g * attributes[source, corners[2], c]
                if wants_attributes:
                    wp.atomic_add(grad_attributes, source, corners[0], c, g * w[0])
                    wp.atomic_add(grad_attributes, source, corners[1], c, g * w[1])
                    wp.atomic_add(grad_attributes, source, corners[2], c, g * w[2])
                c += 1
        grad_barycentric[b, i, j] = wp.vec3(g0, g1, g2)


@wp.func
def _texel(position: float, size: int, wrap: bool):
    # Index of a neighbour at a whole `position`, by wrapping or by clamping.
    index = int(position)
    if wrap:
        return wp.where(index < 0, index + size, wp.where(index >= size, index - size, index))
    return wp.clamp(index, 0, size - 1)


@wp.func
def _texels(u: float, size: int, wrap: bool):
    # The two texels about `u`, and the share of the second.
    x = wp.where(wrap, (u - wp.floor(u)) * float(size) - 0.5, wp.clamp(u * float(size) - 0.5, -1.0, float(size)))
    left = wp.floor(x)
    return _texel(left, size, wrap), _texel(left + 1.0, size, wrap), x - left


@wp.kernel
def sample_texture(
    texture: wp.array4d(dtype=wp.float32),
    uv: wp.array3d(dtype=wp.vec2),
    mask: wp.array3d(dtype=wp.bool),
    wrap: bool,
    lanes: int,
    out: wp.array4d(dtype=wp.float32),
):
    b, i, lane = wp.tid()
    channels = texture.shape[1]
    height = texture.shape[2]
    width = texture.shape[3]
    source = wp.min(b, texture.shape[0] - 1)
    for j in range(lane, uv.shape[2], lanes):
        if not mask[b, i, j]:
            c = int(0)
            while c < channels:
                out[b, i, j, c] = 0.0
                c += 1
        else:
            place = uv[b, i, j]
            x0, x1, ax = _texels(place[0], width, wrap)
            y0, y1, ay = _texels(place[1], height, wrap)
            c = int(0)
            while c < channels:
                upper = texture[source, c, y0, x0] * (1.0 - ax) + texture[source, c, y0, x1] * ax
                lower = texture[source, c, y1, x0] * (1.0 - ax) + texture[source, c, y1, x1] * ax
                out[b, i, j, c] = upper * (1.0 - ay) + lower * ay
                c += 1


@wp.kernel
def sample_texture_backward(
    texture: wp.array4d(dtype=wp.float32),
    uv: wp.array3d(dtype=wp.vec2),
    mask: wp.array3d(dtype=wp.bool),
    wrap: bool,
    lanes: int,
    grad_out: wp.array4d(dtype=wp.float32),
    wants_texture: bool,
    grad_texture: wp.array4d(dtype=wp.float32),
    grad_uv: wp.array3d(dtype=wp.vec2),
):
    b, i, lane = wp.tid()
    channels = texture.shape[1]
    height = texture.shape[2]
    width = texture.shape[3]
    source = wp.min(b, texture.shape[0] - 1)
    for j in range(lane, uv.shape[2], lanes):
        gx = float(0.0)
        gy = float(0.0)
        if mask[b, i, j]:
            place = uv[b, i, j]
            x0, x1, ax = _texels(place[0], width, wrap)
            y0, y1, ay = _texels(place[1], height, wrap)
            c = int(0)
            while c < channels:
                g = grad_out[b, i, j, c]
                t00 = texture[source, c, y0, x0]
                t01 = texture[source, c, y0, x1]
                t10 = texture[source, c, y1, x0]
                t11 = texture[source, c, y1, x1]
                gx += g * ((t01 - t00) * (1.0 - ay) + (t11 - t10) * ay)
                gy += g * ((t10 - t00) * (1.0 - ax) + (t11 - t01) * ax)
                if wants_texture:
                    upper = g * (1.0 - ay)
                    lower = g * ay
                    wp.atomic_add(grad_texture, source, c, y0, x0, upper * (1.0 - ax))
                    wp.atomic_add(grad_texture, source, c, y0, x1, upper * ax)
                    wp.atomic_add(grad_texture, source, c, y1, x0, lower * (1.0 - ax))
                    wp.atomic_add(grad_texture, source, c, y1, x1, lower * ax)
                c += 1
        grad_uv[b, i, j] = wp.vec2(gx * float(width), gy * float(height))


@wp.struct
class Crossing:
    """Where the outline of the front surface crosses the way from its pixel's centre to a neighbour's."""

    share: float  # Of that way, from the front pixel; negative for none.
    first: int
    second: int  # The crossed edge's vertices.
    reverse: bool  # Whether the front pixel is the second of the pair.


@wp.func
def _corner(corners: wp.vec3i, k: int):
    return corners[k % 3]


@wp.func
def _area(a: wp.vec3, b: wp.vec3, x: float, y: float):
    return (a[0] - x) * (b[1] - y) - (a[1] - y) * (b[0] - x)


@wp.func
def _find_crossing(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    adjacent: wp.array2d(dtype=wp.int32),
    triangle: wp.array3d(dtype=wp.int32),
    depth: wp.array3d(dtype=wp.float32),
    b: int,
    i: int,
    j: int,
    down: int,
):
    found = Crossing()
    found.share = -1.0
    i2 = i + down
    j2 = j + 1 - down
    t = triangle[b, i, j]
    t2 = triangle[b, i2, j2]
    if t == t2:
        return found
    px = float(j) + 0.5
    py = float(i) + 0.5
    qx = float(j2) + 0.5
    qy = float(i2) + 0.5
    found.reverse = t < 0 or (t2 >= 0 and depth[b, i2, j2] < depth[b, i, j])
    if found.reverse:
        t = t2
        px, qx = qx, px
        py, qy = qy, py
    # From triangle to triangle along the way, as far as the surface goes on.
    for _ in range(WALK):
        corners = triangles[t]
        c = vertices[b, corners[2]]
        side = wp.where(_area(vertices[b, corners[0]], vertices[b, corners[1]], c[0], c[1]) < 0.0, -1.0, 1.0)
        nearest = float(1.0)
        edge = int(-1)
        for k in range(3):
            v = vertices[b, _corner(corners, k + 1)]
            w = vertices[b, _corner(corners, k + 2)]
            if v[2] <= 0.0 or w[2] <= 0.0:
                return found
            at_start = _area(v, w, px, py) * side
            at_end = _area(v, w, qx, qy) * side
            if at_end < at_start:
                share = at_start / (at_start - at_end)
                if share < nearest:
                    nearest = share
                    edge = k
        if edge < 0 or nearest < 0.0:
            return found
        first = _corner(corners, edge + 1)
        second = _corner(corners, edge + 2)
        a = vertices[b, first]
        e = vertices[b, second]
        beyond = adjacent[t, edge]
        ends = beyond < 0
        if not ends:
            others = triangles[beyond]
            v = vertices[b, others[0] + others[1] + others[2] - first - second]
            ends = _area(a, e, v[0], v[1]) * side >= 0.0
        if ends:
            # Steep edges blend along rows and flat ones along columns: each crossing counts once.
            flat = wp.abs(e[0] - a[0]) > wp.abs(e[1] - a[1])
            if flat == (down == 1):
                found.share = nearest
                found.first = first
                found.second = second
            return found
        t = beyond
    return found


@wp.kernel
def antialias(
    image: wp.array4d(dtype=wp.float32),
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    adjacent: wp.array2d(dtype=wp.int32),
    triangle: wp.array3d(dtype=wp.int32),
    depth: wp.array3d(dtype=wp.float32),
    lanes: int,
    out: wp.array4d(dtype=wp.float32),
):
    b, i, lane = wp.tid()
    for j in range(lane, triangle.shape[2], lanes):
        for down in range(2):
            if i + down < triangle.shape[1] and j + 1 - down < triangle.shape[2]:
                found = _find_crossing(vertices, triangles, adjacent, triangle, depth, b, i, j, down)
                if found.share >= 0.0:
                    fi, fj, bi, bj = i, j, i + down, j + 1 - down
                    if found.reverse:
                        fi, fj, bi, bj = i + down, j + 1 - down, i, j
                    excess = found.share - 0.5
                    c = int(0)
                    while c < image.shape[3]:
                        change = excess * (image[b, fi, fj, c] - image[b, bi, bj, c])
                        if excess > 0.0:
                            wp.atomic_add(out, b, bi, bj, c, change)
                        else:
                            wp.atomic_add(out, b, fi, fj, c, change)
                        c += 1


@wp.kernel
def antialias_backward(
    image: wp.array4d(dtype=wp.float32),
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    adjacent: wp.array2d(dtype=wp.int32),
    triangle: wp.array3d(dtype=wp.int32),
    depth: wp.array3d(dtype=wp.float32),
    lanes: int,
    grad_out: wp.array4d(dtype=wp.float32),
    grad_image: wp.array4d(dtype=wp.float32),
    grad_vertices: wp.array2d(dtype=wp.vec3),
):
    b, i, lane = wp.tid()
    for j in range(lane, triangle.shape[2], lanes):
        for down in range(2):
            if i + down < triangle.shape[1] and j + 1 - down < triangle.shape[2]:
                found = _find_crossing(vertices, triangles, adjacent, triangle, depth, b, i, j, down)
                if found.share >= 0.0:
                    fi, fj, bi, bj = i, j, i + down, j + 1 - down
                    if found.reverse:
                        fi, fj, bi, bj = i + down, j + 1 - down, i, j
                    excess = found.share - 0.5
                    grad_share = float(0.0)
                    c = int(0)
                    while c < image.shape[3]:
                        g = grad_out[b, fi, fj, c]
                        if excess > 0.0:
                            g = grad_out[b, bi, bj, c]
                        grad_share += g * (image[b, fi, fj, c] - image[b, bi, bj, c])
                        wp.atomic_add(grad_image, b, fi, fj, c, excess * g)
                        wp.atomic_add(grad_image, b, bi, bj, c, -excess * g)
                        c += 1
                    # share = inside / (inside - outside), both signed areas with the edge's two ends.
                    px = float(fj) + 0.5
                    py = float(fi) + 0.5
                    qx = float(bj) + 0.5
                    qy = float(bi) + 0.5
                    v = vertices[b, found.first]
                    w = vertices[b, found.second]
                    inside = _area(v, w, px, py)
                    outside = _area(v, w, qx, qy)
                    span = inside - outside
                    gp = -grad_share * outside / (span * span)
                    gq = grad_share * inside / (span * span)
                    wp.atomic_add(
                        grad_vertices,
                        b,
                        found.first,
                        wp.vec3(gp * (w[1] - py) + gq * (w[1] - qy), -gp * (w[0] - px) - gq * (w[0] - qx), 0.0),
                    )
                    wp.atomic_add(
                        grad_vertices,
                        b,
                        found.second,
                        wp.vec3(-gp * (v[1] - py) - gq * (v[1] - qy), gp * (v[0] - px) + gq * (v[0] - qx), 0.0),
                    )
