"""FaceWarper's folders and text files: landmarks, depths and affines in, one picture a file id out.

A folder holds `source/<id>.png`, `keypoints/<id>.txt` (68 lines `x y`, pixels), `depth/<id>.txt` (68 numbers) and
`affine/<id>.txt` (2 lines of 4 numbers, pixels). Layout of github.com/joelmoniz/DepthNets, directory FaceWarper.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.errors import UserError
from likeness.files import write_text

MEMBERS = ("source", "keypoints", "depth", "affine")


@dataclass(frozen=True)
class WarpFiles:
    """The four files of one warp."""

    image: Path
    keypoints: Path
    depth: Path
    affine: Path

    def missing(self) -> list[Path]:
        """Those that do not exist."""
        return [path for path in (self.image, self.keypoints, self.depth, self.affine) if not path.is_file()]


def read_numbers(path: str | Path, rows: int, columns: tuple[int, ...], separator: str | None = None) -> np.ndarray:
    """Read a table of `rows` lines with one of the `columns` counts of numbers; the last newline may be missing.

    Args:
        separator: between numbers of a line; None for blanks.

    Returns:
        (rows, C) float64.

    Raises:
        UserError: absent file, wrong counts, or something that is no finite number; names the line.
    """
    path = Path(path)
    wanted = f"{rows} lines of {' or '.join(map(str, columns))} numbers"
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise UserError(f"no such file, expected {wanted}", path=path) from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"is no text file, expected {wanted}", path=path) from error
    if len(lines) != rows:
        raise UserError(f"holds {len(lines)} lines, expected {wanted}: write the file again", path=path)
    table = []
    blank = separator is None or not separator.strip()
    for number, line in enumerate(lines, 1):
        words = line.split() if blank else [word for word in line.split(separator) if word.strip()]
        if len(words) not in columns or (table and len(words) != len(table[0])):
            hint = "" if len(words) > 1 or max(columns) == 1 else "; is the separator right?"
            raise UserError(
                f"line {number} holds {len(words)} values ({line[:40]!r}), expected {wanted}{hint}", path=path
            )
        try:
            table.append([float(word) for word in words])
        except ValueError as error:
            raise UserError(
                f"line {number} is not made of numbers ({line[:40]!r}), expected {wanted}", path=path
            ) from error
    values = np.array(table)
    if not np.isfinite(values).all():
        line = int(np.nonzero(~np.isfinite(values).all(axis=1))[0][0]) + 1
        raise UserError(f"line {line} holds a value that is not finite: correct it", path=path)
    return values


def read_picture_keypoints(path: str | Path, separator: str = ",") -> np.ndarray:
    """Landmarks of one picture, (66, 2) or (66, 3) float64 `x y [z]`, in pixels; 68 points lose their lip corners."""
    path = Path(path)
    rows = 66
    if path.is_file():
        rows = 68 if sum(bool(line.strip()) for line in path.read_bytes().splitlines()) == 68 else 66
    points = read_numbers(path, rows, (2, 3), separator)
    return np.delete(points, (60, 64), axis=0) if rows == 68 else points


def read_keypoints(path: str | Path) -> np.ndarray:
    """(68, 2) float64 landmarks in pixels."""
    return read_numbers(path, 68, (2,))


def read_depth(path: str | Path) -> np.ndarray:
    """(68,) float64 depths."""
    return read_numbers(path, 68, (1,))[:, 0]


def read_affine(path: str | Path) -> np.ndarray:
    """(2, 4) float64 affine in pixels."""
    return read_numbers(path, 2, (4,))


def write_keypoints(path: str | Path, keypoints: np.ndarray) -> None:
    """Write (68, 2) landmarks, truncated towards zero."""
    write_text(path, "".join(f"{int(x)} {int(y)}\n" for x, y in keypoints))


def write_depth(path: str | Path, depth: np.ndarray) -> None:
    """Write (68,) depths with six decimals."""
    write_text(path, "".join(f"{value:f}\n" for value in depth))


def write_affine(path: str | Path, affine: np.ndarray) -> None:
    """Write a (2, 4) affine with six decimals."""
    write_text(path, "".join(" ".join(f"{value:f}" for value in row) + "\n" for row in affine))


def warp_ids(dataset: str | Path, folder: str = "source") -> list[str]:
    """The file ids of a FaceWarper folder: names in `folder` without their last suffix, sorted.

    Raises:
        UserError: no such folder, or nothing in it.
    """
    names = Path(dataset) / folder
    if not names.is_dir():
        raise UserError(
            f"no such folder: the file ids are the names in `{folder}`; name another by --use-dir", path=names
        )
    found = sorted({path.stem for path in names.iterdir() if path.is_file() and not path.name.startswith(".")})
    if not found:
        raise UserError("is empty: the file ids are the names in it", path=names)
    return found


def warp_files(dataset: str | Path, name: str, image: Path | None = None) -> WarpFiles:
    """The files of id `name`; `image` replaces the source picture."""
    folder = Path(dataset)
    texts = (folder / kind / f"{name}.txt" for kind in MEMBERS[1:])
    return WarpFiles(image or folder / "source" / f"{name}.png", *texts)


def iterate_warps(
    dataset: str | Path, folder: str = "source", image: Path | None = None
) -> Iterator[tuple[str, WarpFiles]]:
    """(id, files) of a FaceWarper folder in order, whether or not the files exist."""
    for name in warp_ids(dataset, folder):
        yield name, warp_files(dataset, name, image)
