"""The rasteriser's kernels: nearest triangle, weights and depth, and the weights' gradient. See `rasterise.py`.

Loops over a picture's columns run inside a thread with a step of `lanes`: one lane on a CPU, where a thread is a
function call, and one a pixel or so on a GPU.
"""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018, RUF046

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)

EMPTY = wp.constant(wp.int64(0x7FFFFFFFFFFFFFFF))
# Bits of the positive infinity: positive floats order like the integers of the same bits.
INFINITE = wp.constant(wp.int32(0x7F800000))
TILE = 8
"""Pixels along a side of the squares whose farthest depth is kept, so that what lies behind them is skipped."""
_TILE = wp.constant(TILE)


@wp.func
def _cross(ax: float, ay: float, bx: float, by: float):
    return ax * by - ay * bx


@wp.func
def _sign(x: float):
    return wp.where(x < 0.0, -1.0, 1.0)


@wp.func
def _edge_bias(ax: float, ay: float, bx: float, by: float, side: float):
    # The top-left rule: a centre exactly on the edge a -> b counts as inside when this is negative.
    left = (by - ay) * side < 0.0
    top = by == ay and (bx - ax) * side > 0.0
    return wp.where(left or top, -1.0e-37, 0.0)


@wp.func
def _grow(box: wp.vec4, x: float, y: float):
    return wp.vec4(wp.min(box[0], x), wp.min(box[1], y), wp.max(box[2], x), wp.max(box[3], y))


@wp.func
def _grow_where_cut(box: wp.vec4, a: wp.vec3, b: wp.vec3, near: float):
    # An edge through the near plane ends, in the picture, where it meets that plane.
    out = box
    if (a[2] < near) != (b[2] < near):
        t = (near - a[2]) / (b[2] - a[2])
        s = 1.0 - t
        out = _grow(out, (s * a[0] * a[2] + t * b[0] * b[2]) / near, (s * a[1] * a[2] + t * b[1] * b[2]) / near)
    return out


@wp.func
def _bounds(p0: wp.vec3, p1: wp.vec3, p2: wp.vec3, near: float):
    box = wp.vec4(wp.inf, wp.inf, -wp.inf, -wp.inf)
    if p0[2] >= near:
        box = _grow(box, p0[0], p0[1])
    if p1[2] >= near:
        box = _grow(box, p1[0], p1[1])
    if p2[2] >= near:
        box = _grow(box, p2[0], p2[1])
    box = _grow_where_cut(box, p0, p1, near)
    box = _grow_where_cut(box, p1, p2, near)
    box = _grow_where_cut(box, p2, p0, near)
    return box


@wp.func
def _steepness(ax: float, ay: float, bx: float, by: float, side: float):
    # What turns a row's edge value into the column where the edge crosses; 0 for edges too flat to tell precisely.
    rise = (by - ay) * side
    if wp.abs(rise) < 0.05 * wp.abs(bx - ax):
        return 0.0
    return 1.0 / rise


@wp.func
def _cut_span(span: wp.vec2, value: float, steepness: float, doubt: float):
    # `value`: the edge function at column 0; it falls by 1 / steepness a column. `doubt`: what rounding may add to it.
    margin = 0.01 + doubt * wp.abs(steepness)
    if steepness > 0.0:
        return wp.vec2(span[0], wp.min(span[1], value * steepness + margin))
    if steepness < 0.0:
        return wp.vec2(wp.max(span[0], value * steepness - margin), span[1])
    return span


@wp.func
def _square_reach(p0: wp.vec3, p1: wp.vec3, p2: wp.vec3, x: float, y: float):
    # Bound of the products of coordinates that edge functions are made of.
    wide = wp.max(wp.max(wp.abs(p0[0] - x), wp.abs(p1[0] - x)), wp.abs(p2[0] - x))
    high = wp.max(wp.max(wp.abs(p0[1] - y), wp.abs(p1[1] - y)), wp.abs(p2[1] - y))
    return (wide + 1.0) * (high + 1.0)


@wp.func
def _edges(
    p0: wp.vec3,
    p1: wp.vec3,
    p2: wp.vec3,
    x: float,
    y01: float,
    y02: float,
    y12: float,
    y10: float,
    y20: float,
    y21: float,
):
    # The edge functions at column x, each of a row's heights times the side of its edge.
    x0 = p0[0] - x
    x1 = p1[0] - x
    x2 = p2[0] - x
    return wp.vec3(_cross(x1, y01, x2, y02), _cross(x2, y12, x0, y10), _cross(x0, y20, x1, y21))


@wp.func
def _first_open(farthest: wp.array3d(dtype=wp.int32), b: int, top: int, bottom: int, left: int, right: int, bits: int):
    # The first row of tiles from `top` on, up to `bottom`, where not everything between two columns of tiles is covered
    # by what lies nearer than `bits`; bottom + 1 where there is none.
    i = top
    j = left
    while i <= bottom and j <= right:
        if farthest[b, i, j] < bits:
            j += 1
            if j > right:
                j = left
                i += 1
        else:
            j = right + 1
    return i


@wp.kernel
def find_farthest(nearest: wp.array3d(dtype=wp.int64), farthest: wp.array3d(dtype=wp.int32)):
    b, row, column = wp.tid()
    most = wp.int64(0)
    for i in range(row * _TILE, wp.min((row + 1) * _TILE, nearest.shape[1])):
        for j in range(column * _TILE, wp.min((column + 1) * _TILE, nearest.shape[2])):
            most = wp.max(most, nearest[b, i, j])
    farthest[b, row, column] = wp.int32(most >> wp.int64(32))


@wp.kernel
def find_nearest(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    begin: int,
    perspective: bool,
    near: float,
    lanes: int,
    height: int,
    width: int,
    drawn: bool,
    farthest: wp.array3d(dtype=wp.int32),
    nearest: wp.array1d(dtype=wp.int64),
):
    b, number, lane = wp.tid()
    t = begin + number
    corners = triangles[t]
    p0 = vertices[b, corners[0]]
    p1 = vertices[b, corners[1]]
    p2 = vertices[b, corners[2]]
    if not (wp.isfinite(p0) and wp.isfinite(p1) and wp.isfinite(p2)):
        return
    z_low = wp.min(p0[2], wp.min(p1[2], p2[2]))
    z_high = wp.max(p0[2], wp.max(p1[2], p2[2]))
    if z_high < near or (z_low < near and not perspective):
        return
    area = _cross(p1[0] - p0[0], p1[1] - p0[1], p2[0] - p0[0], p2[1] - p0[1])
    if area == 0.0 or p0[2] == 0.0 or p1[2] == 0.0 or p2[2] == 0.0:
        return
    box = wp.vec4(p0[0], p0[1], p0[0], p0[1])
    if z_low >= near:
        box = _grow(_grow(box, p1[0], p1[1]), p2[0], p2[1])
    else:
        box = _bounds(p0, p1, p2, near)
    left = int(wp.max(wp.ceil(box[0] - 0.5), 0.0))
    top = int(wp.max(wp.ceil(box[1] - 0.5), 0.0))
    right = int(wp.min(wp.floor(box[2] - 0.5), float(width - 1)))
    bottom = int(wp.min(wp.floor(box[3] - 0.5), float(height - 1)))
    if right < left or bottom < top:
        return
    # Bits of a depth count from 0 and up, those of its inverse from infinity and down.
    zero = wp.where(perspective, INFINITE, wp.int32(0))
    sense = wp.where(perspective, wp.int32(-1), wp.int32(1))
    skip = drawn and z_low >= near
    closest = wp.int32(0)
    if skip:
        # The least depth that any pixel can get; rounding is far smaller than the margin.
        closest = zero + sense * wp.cast(wp.where(perspective, 1.0001 / z_low, 0.9999 * z_low), wp.int32)
        row = _first_open(farthest, b, top / _TILE, bottom / _TILE, left / _TILE, right / _TILE, closest)
        top = wp.max(top, row * _TILE)
        if top > bottom:
            return

    side = _sign(area)
    s0 = side * _sign(p0[2])
    s1 = side * _sign(p1[2])
    s2 = side * _sign(p2[2])
    bias0 = _edge_bias(p1[0], p1[1], p2[0], p2[1], s0)
    bias1 = _edge_bias(p2[0], p2[1], p0[0], p0[1], s1)
    bias2 = _edge_bias(p0[0], p0[1], p1[0], p1[1], s2)
    # What is linear in the picture: 1/depth under perspective, depth itself without.
    scale = 1.0 / wp.abs(area)
    q0 = wp.where(perspective, scale / wp.abs(p0[2]), scale * p0[2])
    q1 = wp.where(perspective, scale / wp.abs(p1[2]), scale * p1[2])
    q2 = wp.where(perspective, scale / wp.abs(p2[2]), scale * p2[2])
    # How q changes from one column to the next.
    slope = s0 * (p1[1] - p2[1]) * q0 + s1 * (p2[1] - p0[1]) * q1 + s2 * (p0[1] - p1[1]) * q2
    largest = wp.where(perspective, 1.0 / near, wp.inf)
    # Most of a box lies outside its triangle: a row's span is estimated, with what rounding could shift it to spare.
    # Where vertices lie very far away the whole row is tried.
    checked = int(-1)
    hidden = bool(False)
    origin = float(left) + 0.5
    k0 = float(0.0)
    k1 = float(0.0)
    k2 = float(0.0)
    reach = wp.max(wp.max(wp.abs(p0), wp.abs(p1)), wp.abs(p2))
    doubt = float(0.0)
    if wp.max(reach[0], reach[1]) < 4096.0:
        doubt = 1.0e-6 * _square_reach(p0, p1, p2, origin, float(top) + 0.5)
        k0 = _steepness(p1[0], p1[1], p2[0], p2[1], s0)
        k1 = _steepness(p2[0], p2[1], p0[0], p0[1], s1)
        k2 = _steepness(p0[0], p0[1], p1[0], p1[1], s2)
    first = top + (lane + lanes - top % lanes) % lanes
    for i in range(first, bottom + 1, lanes):
        if skip and i / _TILE != checked:
            checked = i / _TILE
            hidden = _first_open(farthest, b, checked, checked, left / _TILE, right / _TILE, closest) > checked
        if hidden:
            continue
        y = float(i) + 0.5
        y0 = p0[1] - y
        y1 = p1[1] - y
        y2 = p2[1] - y
        row = (b * height + i) * width
        x0 = p0[0] - origin
        x1 = p1[0] - origin
        x2 = p2[0] - origin
        # Times the sides, which is exact.
        y01 = s0 * y1
        y02 = s0 * y2
        y12 = s1 * y2
        y10 = s1 * y0
        y20 = s2 * y0
        y21 = s2 * y1
        span = wp.vec2(0.0, float(right - left))
        span = _cut_span(span, _cross(x1, y01, x2, y02), k0, doubt)
        span = _cut_span(span, _cross(x2, y12, x0, y10), k1, doubt)
        span = _cut_span(span, _cross(x0, y20, x1, y21), k2, doubt)
        # The first and the last centre inside are found by testing; those between need no test. A `while` of Warp's
        # runs faster than its `for`.
        j = left + int(wp.ceil(span[0]))
        end = left + int(wp.floor(span[1]))
        q = float(0.0)
        seeking = j <= end
        while seeking:
            e = _edges(p0, p1, p2, float(j) + 0.5, y01, y02, y12, y10, y20, y21)
            if e[0] > bias0 and e[1] > bias1 and e[2] > bias2:
                q = e[0] * q0 + e[1] * q1 + e[2] * q2
                seeking = False
            else:
                j += 1
                seeking = j <= end
        seeking = j < end
        while seeking:
            e = _edges(p0, p1, p2, float(end) + 0.5, y01, y02, y12, y10, y20, y21)
            if e[0] > bias0 and e[1] > bias1 and e[2] > bias2:
                seeking = False
            else:
                end -= 1
                seeking = j < end
        while j <= end:
            if q <= largest:
                bits = zero + sense * wp.cast(q, wp.int32)
                wp.atomic_min(nearest, row + j, (wp.int64(bits) << wp.int64(32)) | wp.int64(t))
            q += slope
            j += 1


@wp.func
def _scaled_weights(p0: wp.vec3, p1: wp.vec3, p2: wp.vec3, x: float, y: float, inverse_depths: wp.vec3):
    x0 = p0[0] - x
    x1 = p1[0] - x
    x2 = p2[0] - x
    y0 = p0[1] - y
    y1 = p1[1] - y
    y2 = p2[1] - y
    return wp.vec3(
        _cross(x1, y1, x2, y2) * inverse_depths[0],
        _cross(x2, y2, x0, y0) * inverse_depths[1],
        _cross(x0, y0, x1, y1) * inverse_depths[2],
    )


@wp.func
def _inverse_depths(p0: wp.vec3, p1: wp.vec3, p2: wp.vec3, perspective: bool):
    if perspective:
        return wp.vec3(1.0 / p0[2], 1.0 / p1[2], 1.0 / p2[2])
    return wp.vec3(1.0, 1.0, 1.0)


@wp.kernel
def resolve(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    perspective: bool,
    lanes: int,
    nearest: wp.array3d(dtype=wp.int64),
    triangle: wp.array3d(dtype=wp.int32),
    barycentric: wp.array3d(dtype=wp.vec3),
    depth: wp.array3d(dtype=wp.float32),
):
    b, i, lane = wp.tid()
    y = float(i) + 0.5
    # Neighbours along a row often see the same triangle: what it needs is kept.
    kept = int(-1)
    p0 = wp.vec3(0.0, 0.0, 0.0)
    p1 = wp.vec3(0.0, 0.0, 0.0)
    p2 = wp.vec3(0.0, 0.0, 0.0)
    r = wp.vec3(0.0, 0.0, 0.0)
    for j in range(lane, nearest.shape[2], lanes):
        key = nearest[b, i, j]
        if key == EMPTY:
            triangle[b, i, j] = -1
            barycentric[b, i, j] = wp.vec3(0.0, 0.0, 0.0)
            depth[b, i, j] = 0.0
        else:
            t = int(key)
            if t != kept:
                corners = triangles[t]
                p0 = vertices[b, corners[0]]
                p1 = vertices[b, corners[1]]
                p2 = vertices[b, corners[2]]
                r = _inverse_depths(p0, p1, p2, perspective)
                kept = t
            c = _scaled_weights(p0, p1, p2, float(j) + 0.5, y, r)
            # A centre inside can come out below 0 by a rounding error.
            side = _sign(c[0] + c[1] + c[2])
            c = wp.vec3(wp.max(c[0] * side, 0.0), wp.max(c[1] * side, 0.0), wp.max(c[2] * side, 0.0))
            weights = c * (1.0 / (c[0] + c[1] + c[2]))
            triangle[b, i, j] = t
            barycentric[b, i, j] = weights
            depth[b, i, j] = weights[0] * p0[2] + weights[1] * p1[2] + weights[2] * p2[2]


@wp.kernel
def barycentric_backward(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    perspective: bool,
    lanes: int,
    triangle: wp.array3d(dtype=wp.int32),
    grad_barycentric: wp.array3d(dtype=wp.vec3),
    grad_vertices: wp.array2d(dtype=wp.vec3),
):
    b, i, lane = wp.tid()
    y = float(i) + 0.5
    # Neighbours along a row often see the same triangle: its gradients are summed up before they are written.
    kept = int(-1)
    corners = wp.vec3i(0, 0, 0)
    p0 = wp.vec3(0.0, 0.0, 0.0)
    p1 = wp.vec3(0.0, 0.0, 0.0)
    p2 = wp.vec3(0.0, 0.0, 0.0)
    r = wp.vec3(0.0, 0.0, 0.0)
    g0 = wp.vec3(0.0, 0.0, 0.0)
    g1 = wp.vec3(0.0, 0.0, 0.0)
    g2 = wp.vec3(0.0, 0.0, 0.0)
    for j in range(lane, triangle.shape[2], lanes):
        t = triangle[b, i, j]
        if t >= 0:
            if t != kept:
                if kept >= 0:
                    wp.atomic_add(grad_vertices, b, corners[0], g0)
                    wp.atomic_add(grad_vertices, b, corners[1], g1)
                    wp.atomic_add(grad_vertices, b, corners[2], g2)
                corners = triangles[t]
                p0 = vertices[b, corners[0]]
                p1 = vertices[b, corners[1]]
                p2 = vertices[b, corners[2]]
                r = _inverse_depths(p0, p1, p2, perspective)
                g0 = wp.vec3(0.0, 0.0, 0.0)
                g1 = wp.vec3(0.0, 0.0, 0.0)
                g2 = wp.vec3(0.0, 0.0, 0.0)
                kept = t
            g = grad_barycentric[b, i, j]
            x = float(j) + 0.5
            c = _scaled_weights(p0, p1, p2, x, y, r)
            # weights = c / total
            inverse_total = 1.0 / (c[0] + c[1] + c[2])
            mean = wp.dot(g, c) * inverse_total
            gc0 = (g[0] - mean) * inverse_total * r[0]
            gc1 = (g[1] - mean) * inverse_total * r[1]
            gc2 = (g[2] - mean) * inverse_total * r[2]
            depth_too = wp.where(perspective, 1.0, 0.0)
            x0 = p0[0] - x
            x1 = p1[0] - x
            x2 = p2[0] - x
            y0 = p0[1] - y
            y1 = p1[1] - y
            y2 = p2[1] - y
            g0 += wp.vec3(gc2 * y1 - gc1 * y2, gc1 * x2 - gc2 * x1, -gc0 * c[0] * depth_too)
            g1 += wp.vec3(gc0 * y2 - gc2 * y0, gc2 * x0 - gc0 * x2, -gc1 * c[1] * depth_too)
            g2 += wp.vec3(gc1 * y0 - gc0 * y1, gc0 * x1 - gc1 * x0, -gc2 * c[2] * depth_too)
    if kept >= 0:
        wp.atomic_add(grad_vertices, b, corners[0], g0)
        wp.atomic_add(grad_vertices, b, corners[1], g1)
        wp.atomic_add(grad_vertices, b, corners[2], g2)
