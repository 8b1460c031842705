"""Multiface's data set: one head before a ring of cameras, with tracked meshes and a texture from every camera."""

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from likeness.capture.assets import load_assets
from likeness.capture.body import surface
from likeness.capture.expression import PRESETS, expression
from likeness.capture.landmarks import LANDMARK_VERTICES
from likeness.capture.light import studio
from likeness.capture.options import CaptureConfig, chosen, claim, contact_sheet
from likeness.capture.performance import Performance, relaxed_arms, talking_clip
from likeness.capture.person import Person, make_person
from likeness.capture.stage import Frame, orbit_camera, take
from likeness.formats import multiface
from likeness.formats.multiface import CameraRecord, Entity, StatisticsAccumulator, Topology
from likeness.geometry.camera import Camera
from likeness.media.image import resize, to_uint8
from likeness.render.rasterise import rasterise
from likeness.work import run_all

CROP_HEIGHT = 5.7
"""Faces of the rest body above this many decimetres make the head's mesh."""
MILLIMETRES = 1000.0
SEGMENTS = {
    "v1": (
        "E001_Neutral_Eyes_Open",
        "E002_Swallow",
        "E061_Lips_Puffed",
        "SEN_a_good_morrow_to_you_my_boy",
        "EXP_ROM07_Facial_Expressions",
    ),
    "v2": (
        "EXP_eye_neutral",
        "EXP_jaw001",
        "EXP_free_face",
        "SEN_approach_your_interview_with_statuesque_composure",
        "GAZ_g001",
    ),
}
"""Segment names as the two capture scripts spell them."""
SENSOR_HEIGHT, SENSOR_NOISE = 2048, 0.006
"""Rows of the studio's cameras, and the spread of their noise in units of 0 to 1."""
SEEN_WITHIN = 0.004
"""Metres that a texel may lie behind the surface that the camera sees and still be taken from it."""


@dataclass(frozen=True, kw_only=True)
class MultifaceCapture(CaptureConfig):
    """Write one entity, OUT/m--<date>--0000--<entity>--GHS."""

    script: str = "v1"
    """Spelling of the segments: v1 or v2."""
    cameras: int | None = None
    """Cameras on the ring (presets: 4, 8, 38)."""
    segments: int | None = None
    """Segments, at most five (2, 3, 5)."""
    frames: int | None = None
    """Frames a segment (2, 6, 60)."""
    height: int | None = None
    """Height of the photographs; the width is 1334/2048 of it (256, 512, 2048)."""
    texture: int | None = None
    """Side of the textures (128, 256, 1024)."""


@dataclass(frozen=True)
class Moment:
    """One frame of one segment, and all that its pixels depend on."""

    out: Path
    seed: int
    segment: str
    number: int
    frames: int
    cameras: int
    height: int
    texture: int

    @property
    def frame(self) -> str:
        """Six digits; the numbers step by 3 as in the published mini list."""
        return f"{3 * self.number:06d}"

    @property
    def entity(self) -> Entity:
        """Where the files go."""
        return Entity(self.out / f"m--20180227--0000--{self.seed:07d}--GHS")

    def done(self) -> bool:
        """Whether the frame is whole: its last photograph is written last."""
        last = camera_names(self.cameras)[-1]
        return self.entity.photo(self.segment, last, self.frame).exists()


def capture_multiface(config: MultifaceCapture) -> None:
    """Write a head under a ring of cameras: photographs, meshes, head poses, textures, statistics."""
    cameras = chosen(config.cameras, config.preset, 4, 8, 38)
    segments = chosen(config.segments, config.preset, 2, 3, 5)
    frames = chosen(config.frames, config.preset, 2, 6, 60)
    height = chosen(config.height, config.preset, 256, 512, 2048)
    texture = chosen(config.texture, config.preset, 128, 256, 1024)
    claim(
        config,
        "multiface",
        script=config.script,
        cameras=cameras,
        segments=segments,
        frames=frames,
        height=height,
        texture=texture,
    )
    moments = [
        Moment(config.out, config.seed, segment, number, frames, cameras, height, texture)
        for segment in SEGMENTS[config.script][:segments]
        for number in range(frames)
    ]
    entity = moments[0].entity
    person = _sitter(config.seed)
    multiface.write_krt(entity.krt, {name: _record(c) for name, c in ring(person, cameras, height).items()})
    multiface.write_frame_list(entity.frame_list, [(moment.segment, moment.frame) for moment in moments])
    run_all(write_moment, [moment for moment in moments if not moment.done()], config.workers, "frames")
    totals = StatisticsAccumulator()
    for moment in moments:
        average = multiface.read_picture(entity.texture(moment.segment, multiface.AVERAGE, moment.frame))
        totals.add(average, multiface.read_mesh(entity.mesh(moment.segment, moment.frame)))
    multiface.write_statistics(entity, totals.result())
    multiface.write_picture(entity.root / "loss_weight_mask.png", loss_weights(texture))
    if config.contact_sheet:
        files = [entity.photo(m.segment, name, m.frame) for m in moments[:4] for name in camera_names(cameras)[:8]]
        pictures = [torch.from_numpy(multiface.read_picture(file)).movedim(-1, 0) / 255 for file in files]
        contact_sheet(config, [resize(picture, (208, 136)) for picture in pictures])
    print(f"{entity.root}: {len(moments)} frames from {cameras} cameras")


def write_moment(moment: Moment) -> None:
    """Take one frame from every camera: a pure function of the moment's own numbers."""
    person = _sitter(moment.seed)
    act = performance(moment)
    topology, vertices = head_topology()
    # A smaller photograph's pixel gathers the light of several of the studio's.
    light = studio(0.03, noise=SENSOR_NOISE * moment.height / SENSOR_HEIGHT)
    shots: dict[str, Frame] = {}
    for index, (name, camera) in enumerate(ring(person, moment.cameras, moment.height).items()):
        shots[name] = take(person, act, camera, light, seed=1000 * moment.number + index)
    posed = next(iter(shots.values()))
    to_world = posed.transforms[load_assets().bones.index("head")].numpy().copy()
    to_world[:3, 3] += to_world[:3, :3] @ person.face_center
    world = posed.vertices.numpy()[vertices].astype(np.float64)
    local = (world - to_world[:3, 3]) @ to_world[:3, :3]
    textures = {name: unwrap(shot, topology, world, moment.texture) for name, shot in shots.items()}
    multiface.write_frame(
        moment.entity,
        moment.segment,
        moment.frame,
        verts=local * MILLIMETRES,
        transform=np.column_stack([to_world[:3, :3], to_world[:3, 3] * MILLIMETRES]),
        topology=topology,
        textures=textures,
        average=average_texture(list(textures.values())),
        photos={name: to_uint8(shot.image) for name, shot in shots.items()},
    )


def performance(moment: Moment) -> Performance:
    """What the head does at this moment: sentences are spoken, other segments swell to one expression and back."""
    names = [segment for script in SEGMENTS.values() for segment in script]
    place = names.index(moment.segment)
    if moment.segment.startswith(("SEN_", "EXP_ROM", "EXP_free")):
        return talking_clip(moment.frames, np.random.default_rng([moment.seed, place, 41]), 10.0)[moment.number]
    swell = np.sin(np.pi * (moment.number + 0.5) / moment.frames)
    shape = list(PRESETS)[place % len(PRESETS)]
    gaze = (
        (0.4 * np.cos(2 * np.pi * moment.number / moment.frames), 0.0) if moment.segment.startswith("GAZ") else (0, 0)
    )
    turn = 0.06 * np.sin(1.7 * moment.number + place)
    return Performance(swell * expression(shape), (float(turn), 0.0, 0.0), gaze, relaxed_arms())


def camera_names(count: int) -> list[str]:
    """Names as the published cameras have."""
    return [f"{400002 + k}" for k in range(count)]


def ring(person: Person, count: int, height: int) -> dict[str, Camera]:
    """Cameras 1.1 m from the head, over the front half of a ring, in three heights."""
    size = (height, 2 * round(height * 1334 / 2048 / 2))
    out = {}
    for k, name in enumerate(camera_names(count)):
        yaw = np.radians(75) * (2 * k / max(count - 1, 1) - 1)
        out[name] = orbit_camera(person.face_center, size, yaw, (0.0, 0.22, -0.18)[k % 3], 1.1, 0.38)
    return out


@functools.cache
def head_topology() -> tuple[Topology, np.ndarray]:
    """Topology of the head's mesh and the base mesh's vertices (V,) that it keeps.

    The face's own island of the body's texture is kept and stretched to the whole texture.
    """
    assets, body = load_assets(), surface("body")
    count = len(assets.uv)
    rows, columns = body.uv_indices[:, [0, 1]].ravel(), body.uv_indices[:, [1, 2]].ravel()
    links = csr_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    _, island = connected_components(links, directed=False)
    nose = body.uv_indices[(body.triangles == LANDMARK_VERTICES[30]).any(1)][0, 0]
    above = (assets.vertices[body.triangles][..., 1] > CROP_HEIGHT).all(1)
    chosen_triangles = above & (island[body.uv_indices[:, 0]] == island[nose])
    vertices, vert_ids = np.unique(body.triangles[chosen_triangles], return_inverse=True)
    corners, uv_ids = np.unique(body.uv_indices[chosen_triangles], return_inverse=True)
    uvs = assets.uv[corners]
    low, high = uvs.min(0), uvs.max(0)
    uvs = 0.01 + 0.98 * (uvs - low) / (high - low)
    shape = (-1, 3)
    topology = Topology(
        uvs.astype(np.float32), vert_ids.reshape(shape).astype(np.int32), uv_ids.reshape(shape).astype(np.int32)
    )
    return topology, vertices


def loss_weights(size: int) -> np.ndarray:
    """(size, size, 3) uint8, row 0 at v = 1: how much a texel counts in the screen loss; eyes and mouth most."""
    topology, vertices = head_topology()
    corner = np.zeros((len(vertices), 2), np.float32)
    corner[topology.vert_ids.ravel()] = topology.uvs[topology.uv_ids.ravel()]
    places = corner[np.searchsorted(vertices, LANDMARK_VERTICES)] * [size, -size] + [0, size]
    out = np.full((size, size), 64, np.uint8)
    eyes_and_mouth = ((slice(36, 42), 2.0), (slice(42, 48), 2.0), (slice(48, 60), 1.3))
    for weight, part, growth in ((128, slice(0, 68), 1.3), *((254, part, growth) for part, growth in eyes_and_mouth)):
        hull = cv2.convexHull(places[part].astype(np.float32)).reshape(-1, 2)
        middle = hull.mean(0)
        cv2.fillConvexPoly(out, np.rint(middle + growth * (hull - middle)).astype(np.int32), weight)
    return np.repeat(cv2.GaussianBlur(out, (0, 0), size / 128)[..., None], 3, axis=2)


def unwrap(shot: Frame, topology: Topology, world: np.ndarray, size: int) -> np.ndarray:
    """The head's texture (size, size, 3) uint8 as one camera sees it, row 0 at v = 1; 0 where it sees nothing."""
    corners = topology.uvs[topology.uv_ids].reshape(-1, 2)
    places = np.column_stack([corners[:, 0] * size, (1 - corners[:, 1]) * size, np.ones(len(corners))])
    order = torch.arange(len(corners)).reshape(-1, 3)
    raster = rasterise(torch.tensor(places, dtype=torch.float32)[None], order, (size, size), perspective=False)
    index, weights = raster.triangle[0].numpy(), raster.barycentric[0].numpy()
    covered = index >= 0
    triangles = topology.vert_ids[index[covered]]
    points = np.einsum("nk,nkc->nc", weights[covered], world[triangles])
    a, b, c = (world[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    toward = shot.camera.position.numpy() - points
    pixels, depth = shot.camera.project(torch.from_numpy(points))
    where = (pixels.numpy() - 0.5).astype(np.float32)
    seen_depth = _looked_up(shot.depth[0].numpy(), where, cv2.INTER_NEAREST)[:, 0]
    seen = np.abs(depth.numpy() - seen_depth) < SEEN_WITHIN
    seen &= np.einsum("ni,ni->n", normals, toward) > 0.15 * np.linalg.norm(normals, axis=1) * np.linalg.norm(
        toward, axis=1
    )
    colours = _looked_up(to_uint8(shot.image), where, cv2.INTER_LINEAR)
    out = np.zeros((size, size, 3), np.uint8)
    # 0 means "not seen": what is seen and black becomes the darkest grey instead.
    out[covered] = np.where(seen[:, None], np.maximum(colours, 1), 0)
    return out


def _looked_up(picture: np.ndarray, where: np.ndarray, interpolation: int) -> np.ndarray:
    """Values (N, C) of a picture (H, W, C) at places (N, 2), x first in pixels from the first centre; 0 outside."""
    # OpenCV refuses more than 32767 places at once.
    parts = np.array_split(where, len(where) // 30000 + 1)
    found = [cv2.remap(picture, part[:, :1], part[:, 1:], interpolation, borderValue=0) for part in parts]
    return np.concatenate(found).reshape(len(where), -1)


def average_texture(textures: list[np.ndarray]) -> np.ndarray:
    """Mean (S, S, 3) uint8 over the cameras that see each texel; texels that none sees take their surroundings."""
    stacked = np.stack(textures).astype(np.float32)
    count = (stacked > 0).sum(0)
    mean = stacked.sum(0) / np.maximum(count, 1)
    unseen = (count.max(-1) == 0).astype(np.uint8)
    return cv2.inpaint(np.rint(mean).astype(np.uint8), unseen, 3, cv2.INPAINT_TELEA)


@functools.lru_cache(maxsize=2)
def _sitter(seed: int) -> Person:
    # No hair: the tracked mesh has none, and textures hold what the mesh shows.
    return make_person(seed, "bald")


def _record(camera: Camera) -> CameraRecord:
    extrinsics = camera.extrinsics.numpy().copy()
    extrinsics[:, 3] *= MILLIMETRES
    return CameraRecord(camera.intrinsics.numpy(), np.zeros(5), extrinsics)
