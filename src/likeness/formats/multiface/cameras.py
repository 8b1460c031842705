"""Cameras: KRT files and the split of cameras into trained and held out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from likeness.errors import UserError
from likeness.files import write_text
from likeness.formats.multiface.text import file_json, file_text, numbers
from likeness.geometry.camera import Camera


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


def read_krt(path: str | Path) -> dict[str, CameraRecord]:
    """Camera records by camera name, in the file's order (a camera's index is its place in this order).

    A record is the name, three rows of K, one row of five distortion numbers, three rows of [R | t] and a blank line.

    Raises:
        UserError: a row is missing or has another number of values, or a camera comes twice.
    """
    path = Path(path)
    records: dict[str, CameraRecord] = {}
    lines = file_text(path, "the cameras").splitlines()
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
            values = numbers(lines[start + offset]) if start + offset < len(lines) else []
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


def read_camera_split(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The `full` section of a camera split: camera names under `train`, `test` and `visual`."""
    path = Path(path)
    content = file_json(path)
    section = content.get("full") if isinstance(content, dict) else None
    if not isinstance(section, dict) or not {"train", "test"} <= section.keys():
        raise UserError('expected {"full": {"train": [...], "test": [...], "visual": [...]}}', path=path)
    return {key: tuple(str(name) for name in section.get(key, [])) for key in ("train", "test", "visual")}


def write_camera_split(path: str | Path, split: Mapping[str, Sequence[str]]) -> None:
    """Write a camera split under `full`."""
    write_text(path, json.dumps({"full": {key: list(names) for key, names in split.items()}}, indent=1) + "\n")
