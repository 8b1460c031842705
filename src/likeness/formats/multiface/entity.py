"""Where the files of an entity lie, which frames and segments it lists, and how a frame is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.multiface.meshes import Topology, write_mesh, write_obj, write_transform
from likeness.formats.multiface.pictures import write_picture
from likeness.formats.multiface.text import file_json, file_text

AVERAGE = "average"
"""Name of the pseudo camera whose texture is the mean over the views."""
TEXTURES = "unwrapped_uv_1024"
FRAMES_PER_SECOND = 30.0
"""Rate of the capture that frame numbers count."""


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


def read_frame_list(path: str | Path) -> list[tuple[str, str]]:
    """Pairs (segment, frame) in the file's order; frames that were never exported may be among them."""
    path = Path(path)
    pairs = []
    for number, line in enumerate(file_text(path, "the frames").splitlines(), start=1):
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


def read_segments(path: str | Path) -> tuple[str, ...]:
    """Segment prefixes of a held-out list `{"segment": [...]}`."""
    path = Path(path)
    content = file_json(path)
    names = content.get("segment") if isinstance(content, dict) else None
    if not isinstance(names, list):
        raise UserError('expected {"segment": [prefixes]}', path=path)
    return tuple(str(name) for name in names)


def audio_time(frame: str, first_frame: str) -> float:
    """Seconds into the segment's wav of `frame`: the first frame that exists coincides with the wav's start."""
    return (int(frame) - int(first_frame)) / FRAMES_PER_SECOND
