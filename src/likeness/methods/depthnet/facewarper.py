"""The text files of FaceWarper: landmarks, depths and affines of one face, and landmark files of the exporters."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.errors import UserError
from likeness.files import write_text


@dataclass(frozen=True)
class WarpInput:
    """What the warper needs beside the picture."""

    keypoints: np.ndarray
    """(68, 2) landmarks in pixels of the source."""
    depth: np.ndarray
    """(68,)."""
    affine: np.ndarray
    """(2, 4) from (x, y, depth, 1) to pixels of the same picture."""


def read_warp_input(keypoints: Path, depth: Path, affine: Path) -> WarpInput:
    """Read the three files of one face; a missing newline at the end is fine.

    Raises:
        UserError: an absent file, another count, or anything but finite numbers.
    """
    return WarpInput(
        read_table(keypoints, (68, 2), "68 lines of x y"),
        read_table(depth, (68, 1), "68 lines of one depth")[:, 0],
        read_table(affine, (2, 4), "2 lines of four numbers"),
    )


def write_warp_input(folder: Path, name: str, face: WarpInput) -> None:
    """Write `keypoints|depth|affine/<name>.txt`; landmarks are truncated to whole pixels, as FaceWarper's are."""
    points = face.keypoints.astype(np.int64)
    write_text(folder / "keypoints" / f"{name}.txt", "".join(f"{x} {y}\n" for x, y in points))
    write_text(folder / "depth" / f"{name}.txt", "".join(f"{value:f}\n" for value in face.depth))
    rows = ("{:f} {:f} {:f} {:f}\n".format(*row) for row in face.affine)
    write_text(folder / "affine" / f"{name}.txt", "".join(rows))


def read_landmark_file(path: Path, separator: str = ",") -> np.ndarray:
    """Read 66 lines `x y` or `x y z` (or 68, whose inner mouth corners are dropped): (66, 2) or (66, 3) pixels.

    Raises:
        UserError: another count of rows or columns, or anything but finite numbers.
    """
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    split = [line.split(None if separator.isspace() else separator) for line in lines]
    widths = {len(fields) for fields in split}
    if widths - {2, 3} or len(widths) > 1:
        raise UserError(
            f"has lines of {', '.join(map(str, sorted(widths)))} fields when cut at {separator!r}, expected x, y and "
            "perhaps z: name the separator with --kpt-file-separator",
            path=path,
        )
    if len(lines) not in (66, 68):
        raise UserError(f"has {len(lines)} rows, expected 66 landmarks (or 68)", path=path)
    table = _numbers(split, path)
    return table if len(table) == 66 else np.delete(table, (60, 64), axis=0)


def read_table(path: Path, shape: tuple[int, int], expected: str) -> np.ndarray:
    """Numbers separated by blanks or commas, as float64 of `shape`."""
    rows = [line.replace(",", " ").split() for line in _text(path).splitlines() if line.strip()]
    found = f"{len(rows)} rows of {', '.join(map(str, sorted({len(row) for row in rows}))) or 0} numbers"
    if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
        raise UserError(f"has {found}, expected {expected}", path=path)
    return _numbers(rows, path)


def _numbers(rows: list[list[str]], path: Path) -> np.ndarray:
    try:
        table = np.array([[float(field) for field in row] for row in rows])
    except ValueError as error:
        raise UserError(f"holds something that is no number ({error})", path=path) from error
    if not np.isfinite(table).all():
        number = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0]) + 1
        raise UserError(f"line {number} holds NaN or infinity, expected finite numbers", path=path)
    return table


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError("no such file", path=path) from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"is no text file: {error}", path=path) from error
