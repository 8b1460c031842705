"""One entity of the Multiface data set on disk (Wuu et al. 2022, arXiv 2207.11243), read and written.

The tree of an entity `m--<date>--<time>--<entity>--GHS`::

    KRT  frame_list.txt  tex_mean.png  tex_var.txt  vert_mean.bin  vert_var.txt
    images/<segment>/<camera>/<frame>.png               photographs, 2048 x 1334
    unwrapped_uv_1024/<segment>/<camera>/<frame>.png    a texture for each view
    unwrapped_uv_1024/<segment>/average/<frame>.png     their mean
    tracked_mesh/<segment>/<frame>.bin | .obj | _transform.txt
    audio/<segment>.wav

Lengths are millimetres. Meshes (`.bin`) lie in the head's frame and `_transform.txt` carries head to world; the `.obj`
beside them gives the topology only. Pictures are read as they lie on disk (row 0 on top); who needs v = 0 first flips.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from likeness.errors import UserError
from likeness.files import atomic_path, write_bytes, write_text
from likeness.geometry.camera import Camera

AVERAGE = "average"
"""Name of the pseudo camera whose texture is the mean over the views."""
TEXTURES = "unwrapped_uv_1024"
FRAMES_PER_SECOND = 30.0
"""Rate of the capture that frame numbers count."""


@dataclass(frozen=True)
class CameraRecord:
    """One record of a KRT file: intrinsics (3, 3) in pixels, distortion (5,), extrinsics (3, 4) world to camera, mm."""

    intrinsics: NDArray[np.float64]
    distortion: NDArray[np.float64]
    extrinsics: NDArray[np.float64]

    def camera(self, size: tuple[int, int]) -> Camera:
        """The camera for photographs of `size` (height, width).

        K's origin is the corner of the first pixel, as everywhere here. The photographs are undistorted already, so
        the five numbers of the file are not applied.
        """
        extrinsics = torch.from_numpy(self.extrinsics)
        return Camera(
            intrinsics=torch.from_numpy(self.intrinsics),
            rotation=extrinsics[:, :3],
            translation=extrinsics[:, 3],
            size=size,
            unit="mm",
        )


@dataclass(frozen=True)
class Topology:
    """Triangles of the tracked mesh: uvs (VT, 2) float32 with v upwards, vert_ids and uv_ids (T, 3) int32 from 0."""

    uvs: NDArray[np.float32]
    vert_ids: NDArray[np.int32]
    uv_ids: NDArray[np.int32]


@dataclass(frozen=True)
class Statistics:
    """Normalisation of one entity.

    tex_mean (H, W, 3) uint8 with row 0 on top; tex_var in grey levels squared; vert_mean (V, 3) float32 mm in the
    head's frame; vert_var in mm^2.
    """

    tex_mean: NDArray[np.uint8]
    tex_var: float
    vert_mean: NDArray[np.float32]
    vert_var: float


@dataclass(frozen=True)
class Entity:
    """Where the files of one entity lie."""

    root: Path

    @property
    def name(self) -> str:
        """The entity's id: the second last `--` field of the folder's name (the whole name where there are none)."""
        parts = self.root.name.split("--")
        return parts[-2] if len(parts) > 1 else self.root.name

    @property
    def krt(self) -> Path:
        return self.root / "KRT"

    @property
    def frame_list(self) -> Path:
        return self.root / "frame_list.txt"

    def photo(self, segment: str, camera: str, frame: str) -> Path:
        return self.root / "images" / segment / camera / f"{frame}.png"

    def texture(self, segment: str, camera: str, frame: str) -> Path:
        """The texture unwrapped from `camera`, or the mean over the views for `AVERAGE`."""
        return self.root / TEXTURES / segment / camera / f"{frame}.png"

    def mesh(self, segment: str, frame: str) -> Path:
        return self.root / "tracked_mesh" / segment / f"{frame}.bin"

    def topology(self, segment: str, frame: str) -> Path:
        return self.root / "tracked_mesh" / segment / f"{frame}.obj"

    def transform(self, segment: str, frame: str) -> Path:
        return self.root / "tracked_mesh" / segment / f"{frame}_transform.txt"

    def audio(self, segment: str) -> Path:
        return self.root / "audio" / f"{segment}.wav"


def open_entity(root: str | Path) -> Entity:
    """The entity at `root`.

    Raises:
        UserError: `root` is no folder of an entity; a folder of entities is named as such.
    """
    root = Path(root)
    if (root / "KRT").is_file() or (root / "tracked_mesh").is_dir():
        return Entity(root)
    inside = sorted(p.parent.name for p in root.glob("*/KRT")) if root.is_dir() else []
    hint = f"; it holds the entities {', '.join(inside)}: give one of them" if inside else ""
    raise UserError(
        f"no Multiface entity (expected a folder m--<date>--<time>--<entity>--GHS with KRT and tracked_mesh){hint}",
        path=root,
    )


def read_krt(path: str | Path) -> dict[str, CameraRecord]:
    """Camera records by camera name, in the file's order (a camera's index is its place in this order).

    A record is the name, three rows of K, one row of five distortion numbers, three rows of [R | t] and a blank line.

    Raises:
        UserError: a row is missing or has another number of values, or a camera comes twice.
    """
    path = Path(path)
    records: dict[str, CameraRecord] = {}
    lines = _text(path, "the cameras").splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        name, start = lines[at].strip(), at
        if len(name.split()) != 1:
            raise UserError(
                f"line {at + 1} should name a camera, found {name!r}: the record before it has a line too many",
                path=path,
            )
        rows = []
        for offset, (what, width) in enumerate([("K", 3)] * 3 + [("distortion", 5)] + [("[R t]", 4)] * 3, start=1):
            values = _numbers(lines[start + offset]) if start + offset < len(lines) else []
            if len(values) != width:
                raise UserError(
                    f"camera {name}: line {start + offset + 1} should hold {width} numbers of {what}, found "
                    f"{len(values)}; a record is the name, 3 rows of K, 5 distortion numbers, 3 rows of [R t]: a line "
                    "is missing or damaged, fetch metadata again",
                    path=path,
                )
            rows.append(values)
        if name in records:
            raise UserError(f"camera {name} comes twice (line {start + 1}): leave one record", path=path)
        records[name] = CameraRecord(np.array(rows[:3]), np.array(rows[3]), np.array(rows[4:]))
        at = start + 8
    if not records:
        raise UserError("no camera record found: the file is empty", path=path)
    return records


def write_krt(path: str | Path, records: Mapping[str, CameraRecord]) -> None:
    """Write `records` in their order, every number so that it is read back exactly."""
    lines: list[str] = []
    for name, record in records.items():
        rows = [*record.intrinsics, record.distortion, *record.extrinsics]
        lines += [name, *(" ".join(repr(float(value)) for value in row) for row in rows), ""]
    write_text(path, "\n".join(lines) + "\n")


def read_frame_list(path: str | Path) -> list[tuple[str, str]]:
    """Pairs (segment, frame) in the file's order; frames that were never exported may be among them."""
    path = Path(path)
    pairs = []
    for number, line in enumerate(_text(path, "the frames").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise UserError(f"line {number} should be `segment frame`, found {line.strip()!r}", path=path)
        pairs.append((fields[0], fields[1]))
    if not pairs:
        raise UserError("no frames listed: the file is empty", path=path)
    return pairs


def write_frame_list(path: str | Path, pairs: Sequence[tuple[str, str]]) -> None:
    """Write (segment, frame) pairs, one a line."""
    write_text(path, "".join(f"{segment} {frame}\n" for segment, frame in pairs))


def read_mesh(path: str | Path, vertices: int | None = None) -> NDArray[np.float32]:
    """Vertices (V, 3) in the head's frame, mm, of a `.bin` file: raw little-endian float32.

    Raises:
        UserError: the length is no multiple of 12 bytes, or not that of `vertices` vertices.
    """
    path = Path(path)
    raw = _bytes(path, "the mesh")
    expected = len(raw) % 12 == 0 and len(raw) > 0 if vertices is None else len(raw) == 12 * vertices
    if not expected:
        wanted = "a multiple of 12" if vertices is None else f"{12 * vertices} ({vertices} vertices x 3 float32)"
        raise UserError(
            f"{len(raw)} bytes, expected {wanted}: the file is cut or its topology is another one than the entity's "
            "mean mesh (vert_mean.bin); fetch tracked_mesh again, or leave this frame out of the frame list",
            path=path,
        )
    return np.frombuffer(raw, dtype="<f4").reshape(-1, 3).astype(np.float32)


def write_mesh(path: str | Path, verts: NDArray) -> None:
    """Write vertices (V, 3), mm in the head's frame, as raw little-endian float32."""
    write_bytes(path, np.ascontiguousarray(verts, dtype="<f4").tobytes())


def read_transform(path: str | Path) -> NDArray[np.float32]:
    """Head-to-world matrix [R | t] (3, 4), mm."""
    path = Path(path)
    rows = [_numbers(line) for line in _text(path, "the head pose").splitlines() if line.strip()]
    if [len(row) for row in rows] != [4, 4, 4]:
        raise UserError(f"expected 3 rows of 4 numbers, found rows of {[len(row) for row in rows]}", path=path)
    return np.array(rows, dtype=np.float32)


def write_transform(path: str | Path, transform: NDArray) -> None:
    """Write a head-to-world matrix (3, 4), mm."""
    write_text(path, "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in np.asarray(transform)))


_FACE = re.compile(r"^(\d+)/(\d+)(?:/\d*)?$")


def read_topology(path: str | Path) -> Topology:
    """Texture coordinates and triangles of an `.obj`; its vertex positions are in world coordinates and not used.

    Raises:
        UserError: a face is no triangle, has no texture index, or an index is outside its list.
    """
    path = Path(path)
    vertices, uvs, corners = 0, [], []
    for number, line in enumerate(_text(path, "the topology").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if fields[0] == "v":
            vertices += 1
        elif fields[0] == "vt":
            uvs.append([float(value) for value in fields[1:3]])
        elif fields[0] == "f":
            matches = [_FACE.match(corner) for corner in fields[1:]]
            if len(matches) != 3 or not all(matches):
                raise UserError(f"line {number}: expected a triangle `f v/vt v/vt v/vt`, found {line!r}", path=path)
            corners.append([[int(m[1]) - 1, int(m[2]) - 1] for m in matches if m])
    if not corners:
        raise UserError("no triangles found", path=path)
    faces = np.array(corners, dtype=np.int32)
    if faces[..., 0].max() >= vertices or faces[..., 1].max() >= len(uvs) or faces.min() < 0:
        raise UserError(
            f"a face names vertex {faces[..., 0].max() + 1} of {vertices} or texture coordinate "
            f"{faces[..., 1].max() + 1} of {len(uvs)}: the file is cut",
            path=path,
        )
    return Topology(np.array(uvs, np.float32), faces[..., 0].copy(), faces[..., 1].copy())


def write_obj(path: str | Path, verts: NDArray, topology: Topology, material: str | None = None) -> None:
    """Write a Wavefront mesh: verts (V, 3), the topology's texture coordinates and triangles.

    `material` is the name of an `.mtl` file beside it whose material `face` is used.
    """
    lines = [f"mtllib {material}", "usemtl face"] if material else []
    lines += [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in np.asarray(verts, dtype=float)]
    lines += [f"vt {u:.7g} {v:.7g}" for u, v in topology.uvs.astype(float)]
    pairs = np.stack([topology.vert_ids, topology.uv_ids], axis=-1) + 1
    lines += ["f " + " ".join(f"{v}/{t}" for v, t in corners) for corners in pairs]
    write_text(path, "\n".join(lines) + "\n")


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """An 8-bit RGB picture (H, W, 3), row 0 on top."""
    path = Path(path)
    picture = cv2.imdecode(np.frombuffer(_bytes(path, "the picture"), np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise UserError("is no picture that can be decoded: fetch it again", path=path)
    return np.asarray(picture, dtype=np.uint8)


def write_picture(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write an 8-bit RGB picture (H, W, 3) as PNG."""
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), np.ascontiguousarray(picture[..., ::-1])):
            raise UserError("the picture could not be written as its suffix asks", path=path)


def read_statistics(entity: Entity) -> Statistics:
    """The entity's means and variances.

    Raises:
        UserError: a file is absent, holds no number, or a variance is not positive.
    """
    return Statistics(
        tex_mean=read_picture(entity.root / "tex_mean.png"),
        tex_var=_variance(entity.root / "tex_var.txt", "texture"),
        vert_mean=read_mesh(entity.root / "vert_mean.bin"),
        vert_var=_variance(entity.root / "vert_var.txt", "vertex"),
    )


def write_statistics(entity: Entity, statistics: Statistics) -> None:
    """Write the four files of `statistics`."""
    write_picture(entity.root / "tex_mean.png", statistics.tex_mean)
    write_text(entity.root / "tex_var.txt", f"{statistics.tex_var:.9g}\n")
    write_mesh(entity.root / "vert_mean.bin", statistics.vert_mean)
    write_text(entity.root / "vert_var.txt", f"{statistics.vert_var:.9g}\n")


@dataclass
class StatisticsAccumulator:
    """Means and scalar variances over frames that are added one by one (average textures, head-frame vertices)."""

    count: int = 0
    _texture: NDArray = field(default_factory=lambda: np.zeros(1))
    _texture_square: float = 0.0
    _verts: NDArray = field(default_factory=lambda: np.zeros(1))
    _verts_square: float = 0.0

    def add(self, average_texture: NDArray[np.uint8], verts: NDArray) -> None:
        """Add one frame: its mean texture (H, W, 3) and its vertices (V, 3), mm in the head's frame."""
        texture, points = average_texture.astype(np.float64), np.asarray(verts, np.float64)
        self.count += 1
        self._texture = self._texture + texture
        self._texture_square += float(np.square(texture).mean())
        self._verts = self._verts + points
        self._verts_square += float(np.square(points).mean())

    def result(self) -> Statistics:
        """The statistics of what was added; a variance of 0 (one frame, a still head) becomes 1."""
        texture, verts = self._texture / self.count, self._verts / self.count
        tex_var = self._texture_square / self.count - float(np.square(texture).mean())
        vert_var = self._verts_square / self.count - float(np.square(verts).mean())
        return Statistics(
            tex_mean=np.clip(np.rint(texture), 0, 255).astype(np.uint8),
            tex_var=tex_var if tex_var > 1e-6 else 1.0,
            vert_mean=verts.astype(np.float32),
            vert_var=vert_var if vert_var > 1e-9 else 1.0,
        )


def write_frame(
    entity: Entity,
    segment: str,
    frame: str,
    *,
    verts: NDArray,
    transform: NDArray,
    topology: Topology,
    textures: Mapping[str, NDArray[np.uint8]],
    average: NDArray[np.uint8],
    photos: Mapping[str, NDArray[np.uint8]],
) -> None:
    """Write everything of one frame.

    Args:
        verts: (V, 3) mm in the head's frame.
        transform: (3, 4) head to world, mm; the `.obj` holds the vertices after it, as the published ones do.
        textures: by camera, (S, S, 3) with row 0 on top; channels that are exactly 0 count as not seen.
        average: (S, S, 3) mean over the views.
        photos: by camera, (H, W, 3).
    """
    write_mesh(entity.mesh(segment, frame), verts)
    write_transform(entity.transform(segment, frame), transform)
    world = np.asarray(verts) @ np.asarray(transform)[:, :3].T + np.asarray(transform)[:, 3]
    write_obj(entity.topology(segment, frame), world, topology)
    for camera, texture in textures.items():
        write_picture(entity.texture(segment, camera, frame), texture)
    write_picture(entity.texture(segment, AVERAGE, frame), average)
    for camera, photo in photos.items():
        write_picture(entity.photo(segment, camera, frame), photo)


def read_camera_split(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The `full` section of a camera split: camera names under `train`, `test` and `visual`."""
    path = Path(path)
    content = _json(path)
    section = content.get("full") if isinstance(content, dict) else None
    if not isinstance(section, dict) or not {"train", "test"} <= section.keys():
        raise UserError('expected {"full": {"train": [...], "test": [...], "visual": [...]}}', path=path)
    return {key: tuple(str(name) for name in section.get(key, [])) for key in ("train", "test", "visual")}


def write_camera_split(path: str | Path, split: Mapping[str, Sequence[str]]) -> None:
    """Write a camera split under `full`."""
    write_text(path, json.dumps({"full": {key: list(names) for key, names in split.items()}}, indent=1) + "\n")


def read_segments(path: str | Path) -> tuple[str, ...]:
    """Segment prefixes of a held-out list `{"segment": [...]}`."""
    path = Path(path)
    content = _json(path)
    names = content.get("segment") if isinstance(content, dict) else None
    if not isinstance(names, list):
        raise UserError('expected {"segment": [prefixes]}', path=path)
    return tuple(str(name) for name in names)


def audio_time(frame: str, first_frame: str) -> float:
    """Seconds into the segment's wav of `frame`: the first frame that exists coincides with the wav's start."""
    return (int(frame) - int(first_frame)) / FRAMES_PER_SECOND


def _bytes(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"absent, {what} cannot be read: fetch it, or take the frame off the list", path=path) from None


def _text(path: Path, what: str) -> str:
    try:
        return _bytes(path, what).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"is no text, {what} cannot be read", path=path) from None


def _json(path: Path) -> object:
    try:
        return json.loads(_text(path, "the list"))
    except json.JSONDecodeError as error:
        raise UserError(f"is no JSON ({error})", path=path) from None


def _numbers(line: str) -> list[float]:
    try:
        return [float(value) for value in line.split()]
    except ValueError:
        return []


def _variance(path: Path, what: str) -> float:
    values = _numbers(_text(path, f"the {what} variance"))
    if len(values) != 1 or not np.isfinite(values[0]) or values[0] <= 0:
        raise UserError(
            f"expected one positive number, the {what} variance, found {values}: nothing can be divided by it; "
            "fetch metadata again, or compute it anew from the frames",
            path=path,
        )
    return values[0]
