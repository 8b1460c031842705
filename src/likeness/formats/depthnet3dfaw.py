"""The 3DFAW tree and the prepared landmark archives of DepthNets.

The tree: `{train,valid}_img/<id>.jpg`, `{train,valid}_lm/<id>_lm.csv` with 66 lines `x,y,z` in pixels of that picture
(x right, y down, origin at the top left corner, z growing away from the camera), and `list_valid_test.txt`, one line
per picture of `valid_img`: `<id>,valid[,anything]` or `<id>,test,<left|center|right>`.

An archive (`train.npz`, `valid.npz`, `test.npz`) holds `y_keypts` (N, 66, 2) and `z_keypts` (N, 66), float32: x by the
width, y by the height, z by their mean; `valid` adds `ids`, `test` adds `ids` and `orientations`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likeness.errors import UserError
from likeness.files import atomic_path
from likeness.geometry.face_landmarks import to_66

LANDMARKS = 66
ORIENTATIONS = ("left", "center", "right")
SPLIT_FILE = "list_valid_test.txt"


@dataclass(frozen=True)
class SplitRow:
    """One line of the split file: a picture of `valid_img`, "valid" or "test", and a test picture's orientation."""

    id: str
    split: str
    orientation: str | None


@dataclass(frozen=True)
class LandmarkArchive:
    """Normalised landmarks of N faces."""

    xy: np.ndarray
    """(N, 66, 2) float32, x by the picture's width, y by its height."""
    depth: np.ndarray
    """(N, 66) float32, by the mean of width and height, growing away from the camera."""
    ids: np.ndarray | None = None
    """(N,) unicode."""
    orientations: np.ndarray | None = None
    """(N,) unicode, each left, center or right."""

    def __len__(self) -> int:
        return len(self.xy)


def read_landmarks(path: str | Path) -> np.ndarray:
    """Read one `<id>_lm.csv`: (66, 3) float64 pixels. A missing final newline is fine.

    Raises:
        UserError: absent or empty file, another count of rows or columns, anything but finite numbers.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("no such landmark file: every picture needs its <id>_lm.csv", path=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read as text ({error}): expected {LANDMARKS} lines x,y,z", path=path) from error
    lines = text.rstrip().splitlines()
    if len(lines) != LANDMARKS:
        raise UserError(
            f"found {len(lines)} rows, expected {LANDMARKS} (the iBUG 68 without the two inner mouth corners, one "
            "x,y,z a line): complete the file or remove its picture",
            path=path,
        )
    rows = []
    for number, line in enumerate(lines, start=1):
        fields = line.split(",")
        if len(fields) != 3:
            raise UserError(f"line {number} has {len(fields)} columns, expected x,y,z", path=path)
        try:
            rows.append([float(field) for field in fields])
        except ValueError:
            raise UserError(f"line {number} is {line.strip()!r}, expected three numbers x,y,z", path=path) from None
    landmarks = np.array(rows, dtype=np.float64)
    if not np.isfinite(landmarks).all():
        number = int(np.flatnonzero(~np.isfinite(landmarks).all(axis=1))[0]) + 1
        raise UserError(f"line {number} holds NaN or infinity, expected finite pixels", path=path)
    return landmarks


def write_landmarks(path: str | Path, landmarks: np.ndarray) -> None:
    """Write (66, 3) pixels as `<id>_lm.csv`, final newline included."""
    if landmarks.shape != (LANDMARKS, 3):
        raise ValueError(f"landmarks are {landmarks.shape}, expected ({LANDMARKS}, 3)")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{x:.6f},{y:.6f},{z:.6f}\n" for x, y, z in landmarks), encoding="utf-8")


def read_split_list(path: str | Path) -> list[SplitRow]:
    """Read `list_valid_test.txt`, in its order.

    Raises:
        UserError: absent file, an unknown split or orientation, an id named twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            "no such split file: it stands beside valid_img, one line <id>,<valid|test>,...", path=path
        ) from None
    rows: list[SplitRow] = []
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < 2 or fields[1] not in ("valid", "test"):
            raise UserError(
                f"line {number} is {line!r}, expected <id>,valid or <id>,test,<left|center|right>", path=path
            )
        orientation = None
        if fields[1] == "test":
            orientation = fields[2] if len(fields) > 2 else ""
            if orientation not in ORIENTATIONS:
                raise UserError(
                    f"line {number}: a test face is left, center or right, found {orientation!r}", path=path
                )
        if fields[0] in seen:
            raise UserError(f"line {number} names {fields[0]} a second time: every picture has one split", path=path)
        seen.add(fields[0])
        rows.append(SplitRow(fields[0], fields[1], orientation))
    return rows


def write_split_list(path: str | Path, rows: list[SplitRow]) -> None:
    """Write the split file with three columns a line ("none" as the orientation of a valid row)."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            "".join(f"{row.id},{row.split},{row.orientation or 'none'}\n" for row in rows), encoding="utf-8"
        )


def normalise(landmarks: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (66, 3) by the picture's size: xy (66, 2) and depth (66,), computed in float64, given as float32."""
    landmarks = np.asarray(landmarks, dtype=np.float64)
    xy = landmarks[:, :2] / np.array([width, height], dtype=np.float64)
    return xy.astype(np.float32), (landmarks[:, 2] / ((height + width) / 2)).astype(np.float32)


def load_archive(path: str | Path, require: tuple[str, ...] = ()) -> LandmarkArchive:
    """Read and check a prepared archive; arrays of 68 landmarks lose their two inner mouth corners.

    Args:
        require: members that must be there besides the landmarks, of "ids", "orientations".

    Raises:
        UserError: absent, empty or half-written file, missing members, wrong shapes, non-finite values.
    """
    path = Path(path)
    members = _read_members(path)
    for name in ("y_keypts", "z_keypts", *require):
        if name not in members:
            raise UserError(
                f"has no array {name!r} (found {', '.join(sorted(members)) or 'none'}): write it with "
                "`likeness prepare depthnet`, or see docs/depthnet.md for the members of an archive of your own",
                path=path,
            )
    xy, depth = members["y_keypts"], members["z_keypts"]
    count = xy.shape[1] if xy.ndim == 3 else -1
    if xy.ndim != 3 or xy.shape[2] != 2 or count not in (LANDMARKS, 68):
        raise UserError(f"y_keypts has the shape {xy.shape}, expected (N, {LANDMARKS}, 2)", path=path)
    if depth.shape != xy.shape[:2]:
        raise UserError(f"z_keypts has the shape {depth.shape}, expected {xy.shape[:2]} as y_keypts", path=path)
    if not len(xy):
        raise UserError("holds no face: prepare it from a tree that has pictures", path=path)
    for name, array in (("y_keypts", xy), ("z_keypts", depth)):
        if array.dtype.kind not in "fiu":
            raise UserError(f"{name} holds {array.dtype}, expected numbers", path=path)
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            raise UserError(
                f"{name} holds NaN or infinity, first in face {int(np.argmin(finite))}: remove it", path=path
            )
    if count == 68:
        xy, depth = to_66(xy), to_66(depth[:, :, None])[:, :, 0]
    names = {}
    for name in ("ids", "orientations"):
        values = members.get(name)
        if values is None:
            continue
        if values.shape != (len(xy),):
            raise UserError(f"{name} has the shape {values.shape}, expected ({len(xy)},)", path=path)
        names[name] = values.astype(str)
    if "orientations" in names and not set(names["orientations"]) <= set(ORIENTATIONS):
        found = sorted(map(str, set(names["orientations"]) - set(ORIENTATIONS)))
        raise UserError(f"orientations hold {found}, expected left, center or right", path=path)
    return LandmarkArchive(
        np.ascontiguousarray(xy, dtype=np.float32),
        np.ascontiguousarray(depth, dtype=np.float32),
        names.get("ids"),
        names.get("orientations"),
    )


def save_archive(path: str | Path, archive: LandmarkArchive) -> None:
    """Write an archive with the members it has."""
    arrays = {"y_keypts": archive.xy.astype(np.float32), "z_keypts": archive.depth.astype(np.float32)}
    if archive.ids is not None:
        arrays["ids"] = np.asarray(archive.ids).astype(str)
    if archive.orientations is not None:
        arrays["orientations"] = np.asarray(archive.orientations).astype(str)
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def _read_members(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError("no such archive: write it with `likeness prepare depthnet DIR`", path=path) from None
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"is empty, half-written or no .npz of plain arrays ({error}): prepare it again", path=path
        ) from error
