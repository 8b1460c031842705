"""The portrait collections that GMPI trains on, read and written as their originals lie on disk.

FFHQ: a zip of `<5 digits>/img<8 digits>.png`, a folder of Deep3DFaceRecon coefficients (`.mat`) with `fail_list.txt`.
MetFaces: a folder of `<name>.png` and `<name>_xflip.png`, a folder with `coeffs/<name>.mat` and `fail_list.txt`.
AFHQCat: a folder with `dataset.json` (EG3D's labels) and the pictures it names.
Landmarks: five lines `x<TAB>y` in pixels: left eye, right eye, nose, left and right mouth corner, image-left first.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import scipy.io
from PIL import Image

from likeness.errors import UserError
from likeness.files import atomic_path, write_text

Layout = Literal["ffhq", "afhqcat", "metfaces"]
FAIL_LIST = "fail_list.txt"
COEFFICIENTS = {"id": (1, 80), "exp": (1, 64), "tex": (1, 80), "angle": (1, 3), "gamma": (1, 27), "trans": (1, 3)}
"""Arrays of a Deep3DFaceRecon file and their shapes, beside `lm68` (1, 68, 2)."""
MIRROR_SUFFIX = "_xflip"


@dataclass(frozen=True)
class PoseLabel:
    """A picture's pose as its data set states it: Deep3DFaceRecon's, or EG3D's."""

    angle: np.ndarray | None = None
    """(3,) radians about x, y, z (Deep3DFaceRecon)."""
    trans: np.ndarray | None = None
    """(3,) (Deep3DFaceRecon)."""
    camera_to_world: np.ndarray | None = None
    """(4, 4) (EG3D)."""


class Portraits:
    """A portrait collection opened for reading: square pictures and their poses, in a fixed order.

    Open one with `open_portraits`. Instances can go to worker processes.
    """

    def __init__(self, layout: Layout, images: Path, poses: Path, names: Sequence[str], labels: Mapping[str, list]):
        self.layout, self.images, self.poses = layout, images, poses
        self.names = list(names)
        self.labels = dict(labels)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int, resolution: int | None = None) -> np.ndarray:
        """(R, R, 3) uint8 picture.

        Raises:
            UserError: unreadable, or not `resolution` pixels on either side.
        """
        name = self.names[index]
        try:
            with Image.open(io.BytesIO(self._bytes(name))) as picture:
                array = np.asarray(picture.convert("RGB"))
        except (OSError, EOFError, ValueError, SyntaxError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{name} is not a readable picture ({error}): remove it or list it in {FAIL_LIST}",
                            path=self.images) from error  # fmt: skip
        if resolution is not None and array.shape[:2] != (resolution, resolution):
            raise UserError(
                f"{name} is {array.shape[1]}x{array.shape[0]}, expected {resolution}x{resolution}: choose the preset "
                "of that size or resize the data set",
                path=self.images,
            )
        return array

    def pose(self, index: int) -> PoseLabel:
        """The picture's pose label.

        Raises:
            UserError: its file is absent or damaged.
        """
        name = self.names[index]
        if self.layout == "afhqcat":
            return PoseLabel(camera_to_world=np.array(self.labels[name][:16], dtype=np.float32).reshape(4, 4))
        stored = read_coefficients(self.pose_file(name))
        return PoseLabel(angle=stored["angle"][0], trans=stored["trans"][0])

    def pose_file(self, name: str) -> Path:
        """Where the coefficients of picture `name` lie (FFHQ, MetFaces)."""
        relative = PurePosixPath(name).with_suffix(".mat")
        return self.poses / relative if self.layout == "ffhq" else self.poses / "coeffs" / relative.name

    def _bytes(self, name: str) -> bytes:
        if self.layout != "ffhq":
            return (self.images / name).read_bytes()
        # Opened per picture: an open archive cannot be shared between worker processes.
        with zipfile.ZipFile(self.images) as archive:
            return archive.read(name)


def open_portraits(layout: Layout, images: str | Path, poses: str | Path | None = None) -> Portraits:
    """Open a collection.

    Args:
        layout: which of the three.
        images: FFHQ's zip, or the folder of pictures.
        poses: FFHQ: the folder of coefficients; MetFaces: the folder that holds `coeffs/`; both hold `fail_list.txt`.
            AFHQCat needs none.

    Raises:
        UserError: something is missing, with what was expected.
    """
    images = Path(images)
    poses = images if poses is None else Path(poses)
    labels: dict[str, list] = {}
    if layout == "ffhq":
        names = _zip_names(images, read_fail_list(poses))
    elif layout == "metfaces":
        if not images.is_dir():
            raise UserError("is no folder: expected MetFaces' pictures, <name>.png", path=images)
        failed = {PurePosixPath(line).name for line in read_fail_list(poses)}
        names = sorted(p.name for p in images.glob("*.png") if p.name not in failed)
    else:
        labels = _eg3d_labels(images)
        names = list(labels)
    if not names:
        raise UserError("holds no usable picture", path=images)
    found = Portraits(layout, images, poses, names, labels)
    if layout == "afhqcat":
        missing = [name for name in names if not (images / name).is_file()]
        kind = "pictures"
    else:
        missing = [name for name in names if not found.pose_file(name).is_file()]
        kind = "pose files (.mat)"
    if missing:
        raise UserError(
            f"{len(missing)} of {len(names)} {kind} are missing, the first for {missing[0]}: extract them, or list the "
            f"pictures without one in {FAIL_LIST}",
            path=poses,
        )
    return found


def read_fail_list(folder: str | Path) -> list[str]:
    """Names that the detector failed on: the non-empty lines of `fail_list.txt`; none when there is no such file."""
    path = Path(folder) / FAIL_LIST
    if not path.is_file():
        return []
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def write_fail_list(folder: str | Path, names: Iterable[str]) -> None:
    """Write `fail_list.txt` anew; without failures it holds one empty line, as the original tool leaves it."""
    write_text(Path(folder) / FAIL_LIST, "".join(f"{name}\n" for name in names) or "\n")


def read_coefficients(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a Deep3DFaceRecon `.mat` file; `angle` (1, 3) and `trans` (1, 3) are always there."""
    try:
        stored = scipy.io.loadmat(path)
    except FileNotFoundError as error:
        raise UserError("no pose file: extract poses first, or list the picture in fail_list.txt", path=path) from error
    except Exception as error:  # scipy raises a dozen kinds for damaged files
        raise UserError(f"is not a readable MATLAB file ({error}): extract this pose again", path=path) from error
    for name in ("angle", "trans"):
        if name not in stored or stored[name].shape != (1, 3) or not np.isfinite(stored[name]).all():
            raise UserError(
                f"has no finite {name}[1, 3]: it is no file of Deep3DFaceRecon's; extract it again", path=path
            )
    return {key: value for key, value in stored.items() if not key.startswith("__")}


def write_coefficients(
    path: str | Path, *, angle: np.ndarray, trans: np.ndarray, landmarks: np.ndarray | None = None, origin: str
) -> None:
    """Write a `.mat` file with Deep3DFaceRecon's fields; what is not known is zero and `origin` says who made it.

    Args:
        angle: (3,) radians about x, y, z.
        trans: (3,).
        landmarks: (68, 2) pixels, or None.
    """
    arrays: dict[str, object] = {name: np.zeros(shape, np.float32) for name, shape in COEFFICIENTS.items()}
    arrays["angle"] = np.asarray(angle, np.float32).reshape(1, 3)
    arrays["trans"] = np.asarray(trans, np.float32).reshape(1, 3)
    known = np.zeros((68, 2)) if landmarks is None else landmarks
    arrays["lm68"] = np.asarray(known, np.float32).reshape(1, 68, 2)
    arrays["origin"] = origin
    with atomic_path(path) as temporary:
        scipy.io.savemat(temporary, arrays, appendmat=False)


def read_landmarks(path: str | Path) -> np.ndarray:
    """(5, 2) float32 pixels: left eye, right eye, nose, left and right mouth corner."""
    try:
        points = np.loadtxt(path, dtype=np.float32, ndmin=2)
    except (OSError, ValueError) as error:
        raise UserError(f"is no landmark file ({error}): expected five lines `x<TAB>y`", path=path) from error
    if points.shape != (5, 2):
        raise UserError(f"holds {points.shape} numbers, expected five lines `x<TAB>y`", path=path)
    return points


def write_landmarks(path: str | Path, points: np.ndarray) -> None:
    """Write (5, 2) points as `read_landmarks` reads them."""
    write_text(path, "".join(f"{x:g}\t{y:g}\n" for x, y in np.asarray(points, np.float64).reshape(5, 2)))


def ffhq_name(index: int) -> str:
    """Member name of picture `index`: `<5 digits>/img<8 digits>.png`."""
    return f"{index // 1000:05d}/img{index:08d}.png"


def write_ffhq(images: str | Path, pictures: Iterable[np.ndarray]) -> list[str]:
    """Write (R, R, 3) uint8 pictures into a zip as FFHQ's; returns the member names."""
    names = []
    with atomic_path(images) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for index, picture in enumerate(pictures):
                names.append(ffhq_name(index))
                archive.writestr(names[-1], _png(picture))
            archive.writestr("dataset.json", json.dumps({"labels": None}))
    return names


def write_afhqcat(folder: str | Path, pictures: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> None:
    """Write a folder of pictures with EG3D's `dataset.json`.

    Args:
        pictures: name -> (R, R, 3) uint8.
        labels: name -> (25,) camera-to-world row by row, then normalised intrinsics.
    """
    for name, picture in pictures.items():
        with atomic_path(Path(folder) / name) as temporary:
            temporary.write_bytes(_png(picture))
    rows = [[name, [float(v) for v in np.asarray(labels[name]).reshape(25)]] for name in pictures]
    write_text(Path(folder) / "dataset.json", json.dumps({"labels": rows}))


def mirrored_label(label: Sequence[float]) -> list[float]:
    """EG3D's label (25,) of the mirrored picture: entries (0,1) (0,2) (1,0) (2,0) (0,3) change sign."""
    flipped = list(label)
    for row, column in ((0, 1), (0, 2), (1, 0), (2, 0), (0, 3)):
        flipped[4 * row + column] = -flipped[4 * row + column]
    return flipped


def write_metfaces(folder: str | Path, pictures: Mapping[str, np.ndarray]) -> None:
    """Write `<name>.png` of (R, R, 3) uint8 pictures; `flip_metfaces` adds the mirrored ones."""
    for name, picture in pictures.items():
        with atomic_path(Path(folder) / f"{name}.png") as temporary:
            temporary.write_bytes(_png(picture))


def flip_metfaces(folder: str | Path) -> int:
    """Write `<name>_xflip.png` beside every `<name>.png` that lacks one; returns how many were written.

    Mirrored pictures are never mirrored again, so that a second call changes nothing.
    """
    written = 0
    for path in sorted(Path(folder).glob("*.png")):
        target = path.with_name(f"{path.stem}{MIRROR_SUFFIX}.png")
        if path.stem.endswith(MIRROR_SUFFIX) or target.exists():
            continue
        with Image.open(path) as picture, atomic_path(target) as temporary:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(temporary, format="PNG")
        written += 1
    return written


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def _zip_names(path: Path, failed: Sequence[str]) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
    except FileNotFoundError as error:
        raise UserError("no such file: expected FFHQ's zip, such as ffhq256x256.zip", path=path) from error
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"is not a readable zip ({error}): copy it again", path=path) from error
    Image.init()
    skipped = set(failed)
    names = [name for name in names if PurePosixPath(name).suffix.lower() in Image.EXTENSION and name not in skipped]
    unsafe = next((n for n in names if ".." in PurePosixPath(n).parts or PurePosixPath(n).is_absolute()), None)
    if unsafe is not None:
        raise UserError(f"holds an entry that points outside it, {unsafe!r}: this is not FFHQ's archive", path=path)
    return names


def _eg3d_labels(folder: Path) -> dict[str, list]:
    path = folder / "dataset.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["labels"]
        labels = {str(name): [float(v) for v in values] for name, values in rows}
    except FileNotFoundError as error:
        raise UserError("no dataset.json: expected EG3D's processed folder", path=folder) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"is not EG3D's label file ({error}): expected {{labels: [[name, 25 numbers]]}}",
                        path=path) from error  # fmt: skip
    for name, values in labels.items():
        if len(values) != 25 or not np.isfinite(values).all():
            raise UserError(f"gives {name} {len(values)} numbers, expected 25 finite ones", path=path)
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise UserError(f"names a picture outside its folder, {name!r}", path=path)
    return labels
