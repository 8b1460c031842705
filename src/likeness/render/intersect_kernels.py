"""Kernels of the queries in `intersect.py`."""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018, RUF046

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)


@wp.func
def _on_segment(p: wp.vec3, a: wp.vec3, b: wp.vec3):
    along = b - a
    return wp.clamp(wp.dot(p - a, along) / wp.max(wp.dot(along, along), 1.0e-37), 0.0, 1.0)


@wp.func
def _better(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3, found: wp.vec4, weights: wp.vec3):
    gap = p - (a * weights[0] + b * weights[1] + c * weights[2])
    distance = wp.dot(gap, gap)
    if distance < found[3]:
        return wp.vec4(weights[0], weights[1], weights[2], distance)
    return found


@wp.func
def _closest_weights(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3):
    # Relative to a corner, so that a mesh far from the origin keeps its precision.
    ab = b - a
    ac = c - a
    normal = wp.cross(ab, ac)
    area = wp.dot(normal, normal)
    found = wp.vec4(1.0, 0.0, 0.0, wp.inf)
    if area > 0.0:
        v = wp.dot(wp.cross(p - a, ac), normal) / area
        w = wp.dot(wp.cross(ab, p - a), normal) / area
        if v >= 0.0 and w >= 0.0 and v + w <= 1.0:
            return wp.vec3(1.0 - v - w, v, w)
    t = _on_segment(p, a, b)
    found = _better(p, a, b, c, found, wp.vec3(1.0 - t, t, 0.0))
    t = _on_segment(p, a, c)
    found = _better(p, a, b, c, found, wp.vec3(1.0 - t, 0.0, t))
    t = _on_segment(p, b, c)
    found = _better(p, a, b, c, found, wp.vec3(0.0, 1.0 - t, t))
    return wp.vec3(found[0], found[1], found[2])


@wp.kernel
def find_closest(
    meshes: wp.array1d(dtype=wp.uint64),
    points: wp.array2d(dtype=wp.vec3),
    with_sign: bool,
    triangle: wp.array2d(dtype=wp.int32),
    side: wp.array2d(dtype=wp.float32),
):
    b, n = wp.tid()
    mesh = meshes[wp.min(b, meshes.shape[0] - 1)]
    p = points[b, n]
    t = int(-1)
    s = float(1.0)
    if wp.isfinite(p):
        if with_sign:
            query = wp.mesh_query_point_sign_normal(mesh, p, 1.0e18)
            if query.result:
                t = query.face
                s = query.sign
        else:
            nearest = wp.mesh_query_point_no_sign(mesh, p, 1.0e18)
            if nearest.result:
                t = nearest.face
    triangle[b, n] = t
    side[b, n] = s


@wp.kernel
def find_inside(
    meshes: wp.array1d(dtype=wp.uint64), points: wp.array2d(dtype=wp.vec3), within: wp.array2d(dtype=wp.int32)
):
    b, n = wp.tid()
    p = points[b, n]
    if wp.isfinite(p):
        # Parts of the mesh twice their size away count as one; above one half is inside.
        query = wp.mesh_query_point_sign_winding_number(meshes[wp.min(b, meshes.shape[0] - 1)], p, 1.0e18, 2.0, 0.5)
        if query.result and query.sign < 0.0:
            within[b, n] = 1


@wp.kernel
def place_on_triangle(
    vertices: wp.array2d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    points: wp.array2d(dtype=wp.vec3),
    triangle: wp.array2d(dtype=wp.int32),
    barycentric: wp.array2d(dtype=wp.vec3),
    distance: wp.array2d(dtype=wp.float32),
):
    b, n = wp.tid()
    t = triangle[b, n]
    if t < 0:
        barycentric[b, n] = wp.vec3(0.0, 0.0, 0.0)
        distance[b, n] = wp.inf
        return
    source = wp.min(b, vertices.shape[0] - 1)
    corners = triangles[t]
    p0 = vertices[source, corners[0]]
    p1 = vertices[source, corners[1]]
    p2 = vertices[source, corners[2]]
    weights = _closest_weights(points[b, n], p0, p1, p2)
    barycentric[b, n] = weights
    # `distance` comes in as the side, 1 or -1. Corners relative to the point keep the precision.
    gap = (p0 - points[b, n]) * weights[0] + (p1 - points[b, n]) * weights[1] + (p2 - points[b, n]) * weights[2]
    distance[b, n] = distance[b, n] * wp.length(gap)


@wp.kernel
def cast(
    meshes: wp.array1d(dtype=wp.uint64),
    origins: wp.array2d(dtype=wp.vec3),
    directions: wp.array2d(dtype=wp.vec3),
    furthest: float,
    triangle: wp.array2d(dtype=wp.int32),
    barycentric: wp.array2d(dtype=wp.vec3),
    distance: wp.array2d(dtype=wp.float32),
):
    b, n = wp.tid()
    mesh = meshes[wp.min(b, meshes.shape[0] - 1)]
    query = wp.mesh_query_ray(mesh, origins[b, n], directions[b, n], furthest)
    if query.result:
        triangle[b, n] = query.face
        barycentric[b, n] = wp.vec3(query.u, query.v, 1.0 - query.u - query.v)
        distance[b, n] = query.t
    else:
        triangle[b, n] = -1
        barycentric[b, n] = wp.vec3(0.0, 0.0, 0.0)
        distance[b, n] = wp.inf
