"""Warp kernels of the face warp, see `face_warp.py`: coverage in exact integers, then bilinear look-up."""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)


@wp.func
def _edge(corners: wp.array3d(dtype=wp.int64), t: int, a: int, b: int, x: wp.int64, y: wp.int64) -> wp.int64:
    return (corners[t, b, 0] - corners[t, a, 0]) * (y - corners[t, a, 1]) - (corners[t, b, 1] - corners[t, a, 1]) * (
        x - corners[t, a, 0]
    )


@wp.func
def _bias(corners: wp.array3d(dtype=wp.int64), t: int, a: int, b: int) -> wp.int64:
    # A sample exactly on an edge belongs to the triangle whose top or left edge it is (y grows downwards).
    dx = corners[t, b, 0] - corners[t, a, 0]
    dy = corners[t, b, 1] - corners[t, a, 1]
    if dy < wp.int64(0) or (dy == wp.int64(0) and dx > wp.int64(0)):
        return wp.int64(0)
    return wp.int64(-1)


@wp.func
def _first_sample(lowest: wp.int64) -> int:
    # The first pixel whose centre, at 256 c + 128, is not below `lowest`.
    return int(wp.int64(lowest + wp.int64(127)) >> wp.int64(8))


@wp.kernel
def cover(
    corners: wp.array3d(dtype=wp.int64),
    nearness: wp.array2d(dtype=wp.float64),
    by_depth: int,
    keys: wp.array2d(dtype=wp.int64),
):
    t = wp.tid()
    area = _edge(corners, t, 0, 1, corners[t, 2, 0], corners[t, 2, 1])
    if area == wp.int64(0):
        return
    left = _first_sample(wp.min(corners[t, 0, 0], wp.min(corners[t, 1, 0], corners[t, 2, 0])))
    right = _first_sample(wp.max(corners[t, 0, 0], wp.max(corners[t, 1, 0], corners[t, 2, 0])) + wp.int64(1))
    top = _first_sample(wp.min(corners[t, 0, 1], wp.min(corners[t, 1, 1], corners[t, 2, 1])))
    bottom = _first_sample(wp.max(corners[t, 0, 1], wp.max(corners[t, 1, 1], corners[t, 2, 1])) + wp.int64(1))
    left, top = wp.max(left, 0), wp.max(top, 0)
    right, bottom = wp.min(right, keys.shape[1]), wp.min(bottom, keys.shape[0])
    bias0, bias1, bias2 = _bias(corners, t, 1, 2), _bias(corners, t, 2, 0), _bias(corners, t, 0, 1)
    x = wp.int64(left) * wp.int64(256) + wp.int64(128)
    step0 = (corners[t, 1, 1] - corners[t, 2, 1]) * wp.int64(256)
    step1 = (corners[t, 2, 1] - corners[t, 0, 1]) * wp.int64(256)
    step2 = (corners[t, 0, 1] - corners[t, 1, 1]) * wp.int64(256)
    for row in range(top, bottom):
        y = wp.int64(row) * wp.int64(256) + wp.int64(128)
        w0 = _edge(corners, t, 1, 2, x, y)
        w1 = _edge(corners, t, 2, 0, x, y)
        w2 = _edge(corners, t, 0, 1, x, y)
        for column in range(left, right):
            if ((w0 + bias0) | (w1 + bias1) | (w2 + bias2)) >= wp.int64(0):
                key = wp.int64(t + 1)
                if by_depth != 0:
                    near = (
                        wp.float64(w0) * nearness[t, 0]
                        + wp.float64(w1) * nearness[t, 1]
                        + wp.float64(w2) * nearness[t, 2]
                    ) / wp.float64(area)
                    key = key + wp.int64(near) * wp.int64(256)
                wp.atomic_max(keys, row, column, key)
            w0 += step0
            w1 += step1
            w2 += step2


@wp.func
def _wrapped(index: int, size: int) -> int:
    rest = index % size
    if rest < 0:
        rest += size
    return rest


@wp.kernel
def shade(
    corners: wp.array3d(dtype=wp.int64),
    texture: wp.array3d(dtype=wp.float64),
    image: wp.array3d(dtype=wp.uint8),
    keys: wp.array2d(dtype=wp.int64),
    painted: wp.array3d(dtype=wp.uint8),
    visible: wp.array2d(dtype=wp.int32),
):
    row, column = wp.tid()
    t = int(keys[row, column] & wp.int64(255)) - 1
    visible[row, column] = t
    if t < 0:
        return
    x = wp.int64(column) * wp.int64(256) + wp.int64(128)
    y = wp.int64(row) * wp.int64(256) + wp.int64(128)
    w0 = wp.float64(_edge(corners, t, 1, 2, x, y))
    w1 = wp.float64(_edge(corners, t, 2, 0, x, y))
    w2 = wp.float64(_edge(corners, t, 0, 1, x, y))
    total = w0 + w1 + w2
    u = (w0 * texture[t, 0, 0] + w1 * texture[t, 1, 0] + w2 * texture[t, 2, 0]) / total - wp.float64(0.5)
    v = (w0 * texture[t, 0, 1] + w1 * texture[t, 1, 1] + w2 * texture[t, 2, 1]) / total - wp.float64(0.5)
    fu, fv = wp.floor(u), wp.floor(v)
    su, sv = wp.float32(u - fu), wp.float32(v - fv)
    c0, r0 = _wrapped(int(fu), image.shape[1]), _wrapped(int(fv), image.shape[0])
    c1, r1 = _wrapped(c0 + 1, image.shape[1]), _wrapped(r0 + 1, image.shape[0])
    for channel in range(3):
        upper = wp.float32(image[r0, c0, channel]) * (1.0 - su) + wp.float32(image[r0, c1, channel]) * su
        lower = wp.float32(image[r1, c0, channel]) * (1.0 - su) + wp.float32(image[r1, c1, channel]) * su
        painted[row, column, channel] = wp.uint8(upper * (1.0 - sv) + lower * sv + 0.5)
