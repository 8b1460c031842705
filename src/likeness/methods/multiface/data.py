"""From the tree of an entity to typed batches: selection of samples, normalisation, view directions, projections."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likeness.engine import sample
from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.multiface import (
    AVERAGE,
    TEXTURES,
    CameraRecord,
    Entity,
    Statistics,
    Topology,
    read_mesh,
    read_picture,
    read_topology,
    read_transform,
)

INDEX_NAME = ".likeness_index.json"


class Sample(NamedTuple):
    """One view of one frame."""

    segment: str
    frame: str
    camera: str


@dataclass(frozen=True)
class MultifaceBatch:
    """Views of frames. Textures have row 0 at v = 0 and are normalised, as are verts; photos have row 0 on top.

    Textures lie channels last in memory.
    """

    average: Tensor = sample()
    """(B, 3, S, S) mean texture over the views of the frame."""
    texture: Tensor = sample()
    """(B, 3, S, S) texture of the view, 0 where not seen."""
    mask: Tensor = sample()
    """(B, 3, S, S) in [0, 1]: how much of a texel was seen."""
    verts: Tensor = sample()
    """(B, V, 3) in standard deviations from the mean mesh."""
    view: Tensor = sample()
    """(B, 3) unit direction from the head's origin to the camera, in the head's frame."""
    projection: Tensor = sample()
    """(B, 3, 4) head-frame mm to homogeneous pixels."""
    row: Tensor = sample()
    """(B,) colour row of the camera, -1 for a camera without one."""
    photo: Tensor | None = sample()
    """(B, 3, H, W) in [0, 1]; None when nothing asks for it."""


@dataclass(frozen=True)
class Normaliser:
    """Means and standard deviations at one texture size; every conversion between files and networks.

    tex_mean (3, S, S) in [0, 1] with row 0 at v = 0 and channels last in memory, tex_std in grey levels, vert_mean
    (V, 3) mm.
    """

    tex_mean: Tensor
    tex_std: float
    vert_mean: Tensor
    vert_std: float

    @classmethod
    def of(cls, statistics: Statistics, tex_size: int) -> "Normaliser":
        """The normaliser for textures of side `tex_size`."""
        mean = cv2.resize(statistics.tex_mean[::-1].astype(np.float32), (tex_size, tex_size))
        return cls(
            tex_mean=torch.from_numpy(mean / 255).permute(2, 0, 1),
            tex_std=float(np.sqrt(statistics.tex_var)),
            vert_mean=torch.from_numpy(statistics.vert_mean),
            vert_std=float(np.sqrt(statistics.vert_var)),
        )

    def to(self, device: torch.device | str) -> "Normaliser":
        """The same on `device`."""
        return Normaliser(self.tex_mean.to(device), self.tex_std, self.vert_mean.to(device), self.vert_std)

    def texture(self, normalised: Tensor) -> Tensor:
        """Colours in [0, 1] (not clamped) of normalised textures (..., 3, S, S)."""
        return torch.add(self.tex_mean, normalised, alpha=self.tex_std / 255)

    def verts(self, normalised: Tensor) -> Tensor:
        """Millimetres in the head's frame of normalised verts (..., V, 3)."""
        return normalised * self.vert_std + self.vert_mean


def exported_frames(entity: Entity, segments: Sequence[str]) -> dict[tuple[str, str], set[str]]:
    """(segment, camera or `average`) -> frames whose texture exists.

    Folders are listed once; the listing is kept beside the data and taken again for folders that changed since.
    """
    cache_file = entity.root / INDEX_NAME
    try:
        cache = json.loads(cache_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        cache = {}
    frames: dict[tuple[str, str], set[str]] = {}
    changed = False
    for segment in dict.fromkeys(segments):
        folder = entity.root / TEXTURES / segment
        for views in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
            key, stamp = f"{segment}/{views.name}", views.stat().st_mtime_ns
            entry = cache.get(key)
            if entry is None or entry[0] != stamp:
                entry = [stamp, sorted(path.stem for path in views.iterdir() if path.suffix == ".png")]
                cache[key], changed = entry, True
            frames[segment, views.name] = set(entry[1])
    if changed:
        try:
            write_text(cache_file, json.dumps(cache))
        except (UserError, OSError):
            print(f"{entity.root} cannot be written: its folders will be listed again at the next start")
    return frames


def select_samples(
    entity: Entity,
    frame_list: Sequence[tuple[str, str]],
    cameras: Sequence[str],
    *,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[Sample]:
    """Samples in the frame list's order, then in the order of `cameras`.

    A frame counts when its mean texture exists, a view when its texture exists. `only` and `exclude` are segment
    prefixes; an empty `only` takes every segment.
    """
    wanted = [
        (segment, frame)
        for segment, frame in frame_list
        if (not only or segment.startswith(tuple(only))) and not (exclude and segment.startswith(tuple(exclude)))
    ]
    exported = exported_frames(entity, [segment for segment, _ in wanted])
    nothing: set[str] = set()
    return [
        Sample(segment, frame, camera)
        for segment, frame in wanted
        if frame in exported.get((segment, AVERAGE), nothing)
        for camera in cameras
        if frame in exported.get((segment, camera), nothing)
    ]


def left_out(entity: Entity, frame_list: Sequence[tuple[str, str]], cameras: Sequence[str]) -> list[str]:
    """What `select_samples` leaves out of a frame list, counted, in words."""
    exported = exported_frames(entity, [segment for segment, _ in frame_list])
    anywhere: dict[str, set[str]] = {}
    for (segment, _), frames in exported.items():
        anywhere.setdefault(segment, set()).update(frames)
    nothing: set[str] = set()
    absent = [f"{segment}/{frame}" for segment, frame in frame_list if frame not in anywhere.get(segment, nothing)]
    usable = {pair for pair in frame_list if pair[1] in exported.get((pair[0], AVERAGE), nothing)}
    lone = [
        f"{segment}/{frame}"
        for segment, frame in frame_list
        if frame in anywhere.get(segment, nothing) and (segment, frame) not in usable
    ]
    views = [
        f"{segment}/{camera}/{frame}"
        for segment, frame in frame_list
        if (segment, frame) in usable
        for camera in cameras
        if frame not in exported.get((segment, camera), nothing)
    ]
    told = (
        (absent, "listed frames were never exported and are left out"),
        (lone, "frames have views but no mean texture (average/) and are left out"),
        (views, "views of usable frames have no texture and are left out"),
    )
    return [
        f"{len(names)} {what}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        for names, what in told
        if names
    ]


def strangers(entity: Entity, cameras: Sequence[str]) -> list[str]:
    """Cameras that have pictures but no record, in words."""
    folders = {path.name for path in entity.root.glob("images/*/*") if path.is_dir()}
    folders |= {path.name for path in entity.root.glob(f"{TEXTURES}/*/*") if path.is_dir()}
    unknown = sorted(folders - {*cameras, AVERAGE})
    return [f"cameras {', '.join(unknown)} have pictures but no record in KRT: they are left out"] if unknown else []


def texture_input(
    picture: NDArray[np.uint8], mean: NDArray[np.float32], std: float, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalise one texture file.

    Args:
        picture: (H, W, 3) as read, row 0 on top.
        mean: (H, W, 3) mean texture in grey levels, flipped (row 0 at v = 0).
        std: in grey levels.
        size: S, the side of the result.

    Returns:
        Texture and mask (3, S, S), channels last in memory. A channel that is exactly 0 is missing: 0 in both.
    """
    flipped = np.ascontiguousarray(picture[::-1])
    seen = np.minimum(flipped, 1).astype(np.float32)
    texture = np.asarray(cv2.subtract(flipped, mean, dtype=cv2.CV_32F), np.float32)
    texture *= np.float32(1 / std)
    texture *= seen
    if picture.shape[:2] != (size, size):
        texture = np.asarray(cv2.resize(texture, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
        seen = 1 - np.asarray(cv2.resize(1 - seen, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    return texture.transpose(2, 0, 1), seen.transpose(2, 0, 1)


def view_direction(record: CameraRecord, transform: NDArray) -> NDArray[np.float32]:
    """(3,) unit direction from the head's origin to the camera, in the head's frame; transform (3, 4) head to world."""
    centre = -record.extrinsics[:, :3].T @ record.extrinsics[:, 3]
    direction = transform[:, :3].T.astype(float) @ (centre - transform[:, 3])
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def projection(record: CameraRecord, transform: NDArray) -> NDArray[np.float32]:
    """(3, 4) M = K [R R_f | R t_f + t]: head-frame mm to homogeneous pixels of the photograph."""
    pose = np.concatenate([transform.astype(float), [[0, 0, 0, 1]]])
    return (record.intrinsics @ record.extrinsics @ pose).astype(np.float32)


def area_resized(photo: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """A photograph (H, W, 3) shrunk by `scale` with area weights (the projection shrinks with it)."""
    if scale == 1:
        return photo
    return np.asarray(
        cv2.resize(photo, (photo.shape[1] // scale, photo.shape[0] // scale), interpolation=cv2.INTER_AREA), np.uint8
    )


class ViewSet:
    """The samples of one split, fetched as batches by their indices.

    Args:
        entity: where the files lie.
        samples: from `select_samples`.
        records: cameras of the KRT file.
        rows: camera -> colour row; a camera without one gets -1.
        statistics: of the entity.
        tex_size: S.
        photo_size: (H, W) that photographs must have; None reads none.
        screen_scale: photographs shrink by this and so does the projection.
    """

    def __init__(
        self,
        entity: Entity,
        samples: Sequence[Sample],
        records: Mapping[str, CameraRecord],
        rows: Mapping[str, int],
        statistics: Statistics,
        tex_size: int,
        *,
        photo_size: tuple[int, int] | None = None,
        screen_scale: int = 1,
    ):
        unknown = sorted({name for _, _, name in samples} - records.keys())
        if unknown:
            raise UserError(
                f"cameras {', '.join(unknown)} are asked for but have no record: add them, or leave them out of "
                "the split",
                path=entity.krt,
            )
        self.entity, self.samples, self.records, self.rows = entity, list(samples), records, rows
        self.tex_size, self.photo_size, self.screen_scale = tex_size, photo_size, screen_scale
        self.mean = statistics.tex_mean[::-1].astype(np.float32)
        self.tex_std, self.vert_std = float(np.sqrt(statistics.tex_var)), float(np.sqrt(statistics.vert_var))
        self.vert_mean = statistics.vert_mean

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int] | NDArray) -> MultifaceBatch:
        """The samples at `indices` as one batch."""
        views = [self.samples[int(index)] for index in indices]
        averages = {key: self._texture(*key, AVERAGE)[0] for key in dict.fromkeys(view[:2] for view in views)}
        textures = [self._texture(*view) for view in views]
        transforms = [read_transform(self.entity.transform(view.segment, view.frame)) for view in views]
        records = [self.records[view.camera] for view in views]
        verts = [
            (read_mesh(self.entity.mesh(v.segment, v.frame), len(self.vert_mean)) - self.vert_mean) / self.vert_std
            for v in views
        ]
        shrink = np.array([1 / self.screen_scale, 1 / self.screen_scale, 1], np.float32)[:, None]
        return MultifaceBatch(
            average=_pictures([averages[view[:2]] for view in views]),
            texture=_pictures([texture for texture, _ in textures]),
            mask=_pictures([mask for _, mask in textures]),
            verts=_stack(verts).float(),
            view=_stack([view_direction(record, pose) for record, pose in zip(records, transforms)]),
            projection=_stack([shrink * projection(record, pose) for record, pose in zip(records, transforms)]),
            row=torch.tensor([self.rows.get(view.camera, -1) for view in views]),
            photo=None if self.photo_size is None else _pictures([self._photo(view) for view in views]),
        )

    def _texture(self, segment: str, frame: str, camera: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        path = self.entity.texture(segment, camera, frame)
        picture = read_picture(path)
        if picture.shape != self.mean.shape:
            raise UserError(
                f"is {picture.shape[1]} x {picture.shape[0]}, expected {self.mean.shape[1]} x {self.mean.shape[0]} "
                "as tex_mean.png: all textures of an entity have one size",
                path=path,
            )
        return texture_input(picture, self.mean, self.tex_std, self.tex_size)

    def _photo(self, view: Sample) -> NDArray[np.float32]:
        path = self.entity.photo(view.segment, view.camera, view.frame)
        photo = read_picture(path)
        if photo.shape[:2] != self.photo_size:
            raise UserError(
                f"is {photo.shape[0]} x {photo.shape[1]} (rows x columns), --resolution says {self.photo_size}: "
                "the cameras refer to whole photographs; give their size, and shrink with --screen-scale",
                path=path,
            )
        shrunk = area_resized(photo, self.screen_scale)
        return (shrunk.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)


def entity_topology(entity: Entity, samples: Sequence[Sample], vertices: int) -> Topology:
    """Topology of the first sample, checked against the mean mesh and against the first frame of every segment.

    Raises:
        UserError: the mesh and the mean mesh differ in vertices, or the topology changes between segments.
    """
    first_frames = {sample.segment: sample[:2] for sample in reversed(samples)}
    *others, path = [entity.topology(*frame) for frame in first_frames.values()]
    topology = read_topology(path)
    if topology.vert_ids.max() >= vertices:
        raise UserError(
            f"names vertex {topology.vert_ids.max() + 1}, the mean mesh (vert_mean.bin) has {vertices}: topology and "
            "statistics belong to different meshes; fetch metadata and tracked_mesh of one entity",
            path=path,
        )
    faces = _faces(path)
    for other in others:
        # Equal text is the rule and needs no parsing.
        if _faces(other) != faces and not _same(read_topology(other), topology):
            raise UserError(
                f"has another topology than {path}: one network has one mesh, so leave these frames out of the frame "
                "list, or fetch tracked_mesh again",
                path=other,
            )
    return topology


def _faces(path: Path) -> bytes:
    raw = path.read_bytes() if path.is_file() else b""
    return raw[max(raw.find(b"\nvt "), 0) :]


def _same(one: Topology, other: Topology) -> bool:
    pairs = ((one.vert_ids, other.vert_ids), (one.uv_ids, other.uv_ids), (one.uvs, other.uvs))
    return all(np.array_equal(a, b) for a, b in pairs)


def loss_weight(path: Path | None, tex_size: int) -> Tensor:
    """(3, S, S) weight of each texel in the screen loss, row 0 at v = 0, at most 1; uniform without a file."""
    if path is None:
        return torch.ones(3, tex_size, tex_size)
    picture = read_picture(path)[::-1].astype(np.float32)
    if picture.max() == 0:
        raise UserError("is black: no texel would count in the screen loss", path=path)
    return torch.from_numpy(picture / picture.max()).permute(2, 0, 1)


def _stack(arrays: Sequence[NDArray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _pictures(arrays: Sequence[NDArray]) -> Tensor:
    # Channels stay last in memory: files have them there, and the networks' convolutions want them there.
    return torch.cat([torch.from_numpy(array)[None] for array in arrays])
