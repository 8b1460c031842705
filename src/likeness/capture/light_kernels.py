"""The kernels of `shading.py`: what a point on a person sends to the camera under ambient light, a key and a fill.

One thread does all of one sample, so that nothing but the result goes through memory.
"""

# Kernels are Warp's language, not typed Python; in it `float(0.0)` declares a variable that a loop may change.
# mypy: ignore-errors
# ruff: noqa: UP018

import warp as wp

from likeness.capture.parts import Part
from likeness.capture.scene import Material
from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)

BODY = wp.constant(int(Material.BODY))
TONGUE = wp.constant(int(Material.TONGUE))
TEETH = wp.constant(int(Material.TEETH))
EYE = wp.constant(int(Material.EYE))
HAIR = wp.constant(int(Material.HAIR))
INNER_MOUTH = wp.constant(int(Part.MOUTH))
PART_OF_TONGUE = wp.constant(int(Part.TONGUE))
PART_OF_TEETH = wp.constant(int(Part.TEETH))
PART_OF_EYES = wp.constant(int(Part.EYES))
PART_OF_HAIR = wp.constant(int(Part.HAIR))
IRIS, PUPIL = wp.constant(0.47), wp.constant(0.17)
"""Radians from the eye's axis."""
SHADOW_SIZE = 512
SHADOW_BIAS = 0.003
"""Metres, along the surface's normal and again towards the light."""
_SIZE = wp.constant(SHADOW_SIZE)
_BIAS = wp.constant(SHADOW_BIAS)


@wp.struct
class Lamps:
    """A `Light` and the shadows of its key."""

    key_direction: wp.vec3
    key: wp.vec3
    fill_direction: wp.vec3
    fill: wp.vec3
    ambient: wp.array1d(dtype=wp.vec3)
    """(9,) by spherical harmonic, as in `Light.ambient`."""
    axes: wp.mat33
    """World to the shadow map: columns and rows run along the first two axes, depth along the third."""
    origin: wp.vec3
    scale: float
    """Pixels of the shadow map a metre."""
    depth: wp.array2d(dtype=float)


@wp.func
def _reach(point: wp.vec3, lamps: Lamps):
    # Share of the key light that arrives, over a 3x3 neighbourhood of the shadow map.
    spot = lamps.axes * point - lamps.origin
    column = spot[0] * lamps.scale + 0.5 * float(_SIZE)
    row = spot[1] * lamps.scale + 0.5 * float(_SIZE)
    last = float(_SIZE - 1)
    free = float(0.0)
    for k in range(3):
        i = int(wp.clamp(row + 1.2 * float(k - 1), 0.0, last))
        for m in range(3):
            j = int(wp.clamp(column + 1.2 * float(m - 1), 0.0, last))
            if lamps.depth[i, j] + _BIAS > spot[2]:
                free += 1.0
    return free / 9.0


@wp.func
def _irradiance(n: wp.vec3, ambient: wp.array1d(dtype=wp.vec3)):
    x = n[0]
    y = n[1]
    z = n[2]
    out = ambient[0] + y * ambient[1] + z * ambient[2] + x * ambient[3]
    out += (x * y) * ambient[4] + (y * z) * ambient[5] + (3.0 * z * z - 1.0) * ambient[6]
    out += (x * z) * ambient[7] + (x * x - y * y) * ambient[8]
    return wp.max(out, wp.vec3(0.0))


@wp.func
def _smoothstep(low: float, high: float, value: float):
    t = wp.clamp((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@wp.func
def _mix(values: wp.array1d(dtype=wp.vec3), corners: wp.vec3i, w: wp.vec3):
    return w[0] * values[corners[0]] + w[1] * values[corners[1]] + w[2] * values[corners[2]]


@wp.func
def _texel(texture: wp.array3d(dtype=wp.uint8), row: int, column: int):
    i = wp.clamp(row, 0, texture.shape[0] - 1)
    j = wp.clamp(column, 0, texture.shape[1] - 1)
    return wp.vec3(float(texture[i, j, 0]), float(texture[i, j, 1]), float(texture[i, j, 2]))


@wp.func
def _painted(texture: wp.array3d(dtype=wp.uint8), linear: wp.array1d(dtype=float), u: float, v: float):
    # Bilinear between sRGB values, then the curve undone from a table of 256.
    x = u * float(texture.shape[1]) - 0.5
    y = (1.0 - v) * float(texture.shape[0]) - 0.5
    j = int(wp.floor(x))
    i = int(wp.floor(y))
    s = x - wp.floor(x)
    t = y - wp.floor(y)
    above = (1.0 - s) * _texel(texture, i, j) + s * _texel(texture, i, j + 1)
    below = (1.0 - s) * _texel(texture, i + 1, j) + s * _texel(texture, i + 1, j + 1)
    value = (1.0 - t) * above + t * below
    return wp.vec3(linear[int(value[0] + 0.5)], linear[int(value[1] + 0.5)], linear[int(value[2] + 0.5)])


@wp.func
def _part(material: int, uv: wp.vec2, labels: wp.array2d(dtype=wp.uint8)):
    if material == BODY:
        i = wp.clamp(int((1.0 - uv[1]) * float(labels.shape[0])), 0, labels.shape[0] - 1)
        j = wp.clamp(int(uv[0] * float(labels.shape[1])), 0, labels.shape[1] - 1)
        return int(labels[i, j])
    if material == TONGUE:
        return PART_OF_TONGUE
    if material == TEETH:
        return PART_OF_TEETH
    if material == EYE:
        return PART_OF_EYES
    return PART_OF_HAIR


@wp.func
def _uv(material: int, corners_uv: wp.array2d(dtype=wp.vec2), t: int, w: wp.vec3):
    # Of the body alone.
    if material != BODY:
        return wp.vec2(0.0, 0.0)
    return w[0] * corners_uv[t, 0] + w[1] * corners_uv[t, 1] + w[2] * corners_uv[t, 2]


@wp.func
def _tooth(rest: wp.vec3):
    # Single teeth with gaps between them and gums above, by where they lie on the rest mesh.
    along = wp.abs(rest[0]) / 0.068
    share = along - wp.floor(along)
    gap = wp.min(share, 1.0 - share)
    enamel = (0.55 + 0.45 * _smoothstep(0.02, 0.13, gap)) * wp.vec3(0.82, 0.76, 0.64)
    gum = float(0.0)
    if rest[1] > 6.56:
        edge = wp.where(rest[1] > 6.60, 6.665 + 0.012 * wp.cos(2.0 * wp.pi * along), 6.455)
        gum = _smoothstep(-0.008, 0.008, rest[1] - edge)
    return enamel + gum * (wp.vec3(0.35, 0.12, 0.11) - enamel)


@wp.func
def _eye(direction: wp.vec3, iris: wp.vec3):
    # By the angle from the eye's axis: pupil, iris with fibres and a dark rim, white that reddens outwards.
    angle = wp.acos(wp.clamp(direction[2], -1.0, 1.0))
    around = wp.atan2(direction[1], direction[0])
    white = wp.cw_mul(
        wp.vec3(0.7875, 0.7301, 0.6939),
        wp.vec3(1.0) - _smoothstep(0.6, 1.3, angle) * wp.vec3(0.10, 0.32, 0.34),
    )
    fibres = 0.75 + 0.18 * wp.sin(37.0 * around + 9.0 * angle) + 0.14 * wp.sin(23.0 * around - 31.0 * angle)
    ring = (angle - 0.23) / 0.05
    bright = fibres * (1.25 - 0.5 * _smoothstep(0.2, 0.45, angle)) + 0.5 * wp.exp(-ring * ring)
    inner = bright * (1.0 - 0.75 * _smoothstep(0.38, IRIS, angle)) * iris
    out = inner + _smoothstep(IRIS - 0.02, IRIS + 0.05, angle) * (white - inner)
    return _smoothstep(PUPIL - 0.02, PUPIL + 0.02, angle) * out + wp.vec3(0.004)


@wp.func
def _softened(reach: float, wrap: float):
    # A shadow's edge on skin is redder than its middle.
    if reach <= 0.0 or reach >= 1.0:
        return reach
    return wp.pow(reach, 1.0 - 1.2 * wrap)


@wp.func
def _lamp_on_surface(
    albedo: wp.vec3,
    normal: wp.vec3,
    view: wp.vec3,
    toward: wp.vec3,
    lamp: wp.vec3,
    reach: float,
    gloss: float,
    power: float,
    wrap: wp.vec3,
):
    cosine = wp.dot(normal, toward)
    out = wp.vec3(0.0)
    for c in range(3):
        diffuse = wp.max((cosine + wrap[c]) / (1.0 + wrap[c]), 0.0)
        out[c] = albedo[c] * diffuse * _softened(reach, wrap[c])
    if cosine > 0.0 and reach > 0.0:
        middle = wp.normalize(view + toward)
        away = 1.0 - wp.clamp(wp.dot(view, middle), 0.0, 1.0)
        fresnel = 0.35 + 0.65 * away * away * away * away
        peak = wp.pow(wp.clamp(wp.dot(normal, middle), 0.0, 1.0), power)
        out += wp.vec3(gloss * fresnel * peak * (power + 8.0) / 25.0 * reach)
    return wp.cw_mul(out, lamp)


@wp.func
def _lamp_on_hair(
    colour: wp.vec3,
    tangent: wp.vec3,
    away: wp.vec3,
    view: wp.vec3,
    toward: wp.vec3,
    lamp: wp.vec3,
    reach: float,
    shelter: float,
):
    along = wp.dot(tangent, toward)
    across = wp.sqrt(wp.max(1.0 - along * along, 0.0))
    bulk = wp.clamp(0.35 + 0.65 * wp.dot(away, toward), 0.0, 1.0)
    lean = wp.dot(tangent, wp.normalize(view + toward))
    sheen = wp.max(1.0 - lean * lean, 0.0)
    # Powers of 14 and 60 by multiplication: `pow` takes longer than all the rest.
    square = sheen * sheen
    fourth = square * square
    eighth = fourth * fourth
    sixteenth = eighth * eighth
    shine = wp.vec3(0.05 * sixteenth * sixteenth * sixteenth * eighth * fourth)
    shine += (0.5 * eighth * fourth * square) * colour
    return reach * bulk * wp.cw_mul(lamp, (across * shelter) * colour + shine)


@wp.kernel
def reach(points: wp.array1d(dtype=wp.vec3), lamps: Lamps, out: wp.array1d(dtype=float)):
    k = wp.tid()
    out[k] = _reach(points[k], lamps)


@wp.kernel
def describe(
    found: wp.array1d(dtype=wp.int32),
    weights: wp.array1d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    materials: wp.array1d(dtype=wp.uint8),
    normals: wp.array1d(dtype=wp.vec3),
    corners_uv: wp.array2d(dtype=wp.vec2),
    labels: wp.array2d(dtype=wp.uint8),
    parts: wp.array1d(dtype=wp.uint8),
    seen_uv: wp.array1d(dtype=wp.vec2),
    seen_normals: wp.array1d(dtype=wp.vec3),
):
    """Part, texture coordinates (of the body alone) and normal of every pixel that a triangle covers."""
    k = wp.tid()
    t = found[k]
    if t < 0:
        return
    w = weights[k]
    material = int(materials[t])
    uv = _uv(material, corners_uv, t, w)
    seen_uv[k] = uv
    parts[k] = wp.uint8(_part(material, uv, labels))
    seen_normals[k] = wp.normalize(_mix(normals, triangles[t], w))


@wp.kernel
def shade(
    found: wp.array1d(dtype=wp.int32),
    weights: wp.array1d(dtype=wp.vec3),
    triangles: wp.array1d(dtype=wp.vec3i),
    materials: wp.array1d(dtype=wp.uint8),
    vertices: wp.array1d(dtype=wp.vec3),
    normals: wp.array1d(dtype=wp.vec3),
    local: wp.array1d(dtype=wp.vec3),
    rest: wp.array1d(dtype=wp.vec3),
    openness: wp.array1d(dtype=float),
    corners_uv: wp.array2d(dtype=wp.vec2),
    texture: wp.array3d(dtype=wp.uint8),
    labels: wp.array2d(dtype=wp.uint8),
    linear: wp.array1d(dtype=float),
    finish: wp.array2d(dtype=float),
    hair_colour: wp.vec3,
    iris: wp.vec3,
    head: wp.vec3,
    camera: wp.vec3,
    lamps: Lamps,
    out: wp.array1d(dtype=wp.vec3),
):
    """Linear radiance of every pixel that a triangle covers; the others keep what they have."""
    k = wp.tid()
    t = found[k]
    if t < 0:
        return
    corners = triangles[t]
    w = weights[k]
    material = int(materials[t])
    point = _mix(vertices, corners, w)
    normal = wp.normalize(_mix(normals, corners, w))
    view = wp.normalize(camera - point)
    if material == HAIR:
        # Hair has no outside to step to.
        lit = _reach(point + _BIAS * view, lamps)
        strand = _mix(local, corners, w)
        colour = strand[0] * hair_colour
        shelter = 0.45 + 0.55 * _smoothstep(0.0, 0.5, strand[1])
        # Normals of the bulk of the hair: away from the middle of the head.
        away = wp.normalize(point - head)
        shine = (0.8 * shelter) * wp.cw_mul(colour, _irradiance(away, lamps.ambient))
        shine += _lamp_on_hair(colour, normal, away, view, lamps.key_direction, lamps.key, lit, shelter)
        shine += _lamp_on_hair(colour, normal, away, view, lamps.fill_direction, lamps.fill, 0.7, shelter)
        out[k] = shine
        return
    lit = _reach(point + _BIAS * normal, lamps)
    uv = _uv(material, corners_uv, t, w)
    part = _part(material, uv, labels)
    albedo = wp.vec3(0.42, 0.13, 0.12)
    open_sky = float(0.0)
    if material == EYE:
        direction = wp.normalize(_mix(local, corners, w))
        albedo = _eye(direction, iris)
        # The upper lid and its lashes keep the sky off the eye.
        open_sky = 0.62 - 0.25 * _smoothstep(0.15, 0.5, direction[1])
    elif material == TEETH:
        place = _mix(rest, corners, w)
        albedo = _tooth(place)
        # Light comes through the lips, and little of it to the teeth behind the cheeks.
        outer = _smoothstep(1.0, 1.42, place[2])
        open_sky = 0.2 + 0.6 * outer
        lit = wp.max(lit, 0.6) * (0.25 + 0.75 * outer)
    else:
        bare = w[0] * openness[corners[0]] + w[1] * openness[corners[1]] + w[2] * openness[corners[2]]
        open_sky = wp.pow(wp.max(bare, 0.0), 1.3)
    if material == BODY:
        albedo = _painted(texture, linear, uv[0], uv[1])
    if material == TONGUE or part == INNER_MOUTH:
        # The rest pose, whose openness this is, has its mouth shut. Light that came in is scattered about; shadows of
        # single teeth are not seen, and the throat stays dark.
        outer = _smoothstep(0.9, 1.45, _mix(rest, corners, w)[2])
        open_sky = 0.08 + 0.4 * outer
        lit = 0.5 * outer
    if wp.dot(normal, view) < -0.2:
        normal = -normal
    gloss = finish[part, 0]
    power = finish[part, 1]
    wrap = wp.vec3(finish[part, 2], finish[part, 3], finish[part, 4])
    shine = open_sky * wp.cw_mul(albedo, _irradiance(normal, lamps.ambient))
    shine += _lamp_on_surface(albedo, normal, view, lamps.key_direction, lamps.key, lit, gloss, power, wrap)
    shine += _lamp_on_surface(albedo, normal, view, lamps.fill_direction, lamps.fill, open_sky, gloss, power, wrap)
    out[k] = shine
